"""Sessions with servers, each for one task alone: opened when needed, closed when idle, in error, or over.

Each lives in a task of its own, because the SDK's scopes must be left where they were entered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import quote

from remit.domain.catalogue import ServerConfig
from remit_client import Denied, RemitError, Unreachable
from remit_client.wire import member

from ..asks import Desk
from ..secrets import Injected, injected
from .relay import Face
from .upstream import Upstream, connected

Key = tuple[str, str, Face]
IDLE = 300.0
SESSIONS = 512
SWEEP = 2.0
LOOK_EVERY = 5  # sweeps
START_IN = 30.0
_BACKOFF = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
SERVERS_FOR = 5.0


@dataclass
class _Open:
    config: ServerConfig
    ready: asyncio.Future[Upstream]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    owner: asyncio.Task[None] | None = None


@dataclass
class _Failing:
    times: int = 0
    not_before: float = 0.0
    why: str = ""


class Pool:
    """`only`: the servers spoken for; none: all that the catalogue declares."""

    def __init__(self, desk: Desk, only: tuple[str, ...] = ()) -> None:
        self._desk = desk
        self._only = only
        self._servers: dict[str, ServerConfig] = {}
        self.bearer: frozenset[str] = frozenset()
        self._asked_at = -SERVERS_FOR
        self._open: dict[Key, _Open] = {}
        self._failing: dict[Key, _Failing] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def servers(self) -> Mapping[str, ServerConfig]:
        """What the catalogue in force says, a few seconds old at most."""
        if time.monotonic() - self._asked_at > SERVERS_FOR:
            answer = await self._desk.ask("GET", "/v1/servers")
            found = [_config(item) for item in member(answer, "items", list)]
            self._servers = {c.name: c for c in found if not self._only or c.name in self._only}
            self.bearer = frozenset(str(one) for one in member(answer, "bearer", list))
            self._asked_at = time.monotonic()
        return self._servers

    def of(self, task: str) -> TaskSessions:
        """One task's own."""
        return TaskSessions(self, task)

    async def session(self, task: str, server: str, face: Face) -> Upstream:
        """The task's session with this server; a new one when there is none, or when the server's entry has changed."""
        config = (await self.servers()).get(server)
        if config is None:
            raise Denied(f"There is no server {server}.", reasons=("tool_unknown",))
        key = (task, server, Face(face.legacy, tuple(word for word in config.asks if word in face.can)))
        found = self._open.get(key)
        if found is not None and (found.config != config or _is_over(found)):
            await self._close(key)
            found = None
        if found is None:
            found = self._begin(key, config)
        try:
            upstream = await asyncio.shield(found.ready)
            if upstream.served:
                self._failing.pop(key, None)
            return upstream
        except asyncio.CancelledError:
            if found.ready.cancelled():
                raise Unreachable(f"The gateway is stopping, or {server} was closed.") from None
            raise

    def last(self, task: str, server: str, own: str) -> Mapping[str, Any] | None:
        """What the server last said of a tool to this task, if they are in session."""
        for (whose, name, _), found in self._open.items():
            if (whose, name) == (task, server) and (upstream := _ready(found)) is not None:
                return upstream.last(own)
        return None

    def _begin(self, key: Key, config: ServerConfig) -> _Open:
        failing = self._failing.get(key)
        if failing is not None and (left := failing.not_before - time.monotonic()) > 0:
            step = f"It is tried again in {left:.0f} s."
            raise RemitError(f"The server {config.name} keeps failing: {failing.why}", next_step=step)
        self._make_room()
        found = self._open[key] = _Open(config, asyncio.get_running_loop().create_future())
        found.owner = asyncio.create_task(self._own(key, found))
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())
        return found

    async def _own(self, key: Key, mine: _Open) -> None:
        task, _, face = key
        config = mine.config
        wanted = {config.variable or "Authorization": config.credential} if config.credential else {}
        # A server may know only the newer MCP; what the agent's side cannot answer, it then cannot ask.
        faces = (face, Face()) if face.legacy else (face,)
        try:
            async with injected(self._desk, task, wanted, mine.stop.set) as held:
                for shown in faces:
                    try:
                        await self._serve(mine, held, shown)
                        break
                    except RemitError:
                        if mine.ready.done() or shown is faces[-1]:
                            raise
        except Exception as failure:
            error = failure if isinstance(failure, RemitError) else RemitError(f"The server {config.name} is too slow.")
            self._failed(key, str(error) if not mine.ready.done() else "it crashed or broke off")
            if not mine.ready.done():
                mine.ready.set_exception(error)
                mine.ready.exception()
        finally:
            if not mine.ready.done():
                mine.ready.cancel()
            if self._open.get(key) is mine:
                del self._open[key]

    async def _serve(self, mine: _Open, held: Injected, face: Face) -> None:
        async with asyncio.timeout(START_IN) as starting, connected(mine.config, held=held, face=face) as upstream:
            starting.reschedule(None)
            mine.ready.set_result(upstream)
            await mine.stop.wait()

    def _failed(self, key: Key, why: str) -> None:
        failing = self._failing.setdefault(key, _Failing())
        failing.times, failing.why = failing.times + 1, why[:500]
        failing.not_before = time.monotonic() + _BACKOFF[min(failing.times, len(_BACKOFF)) - 1]

    def _make_room(self) -> None:
        if len(self._open) < SESSIONS:
            return
        idle = [(o.ready.result().used_at, o) for o in self._open.values() if _is_idle(o, 0.0)]
        if not idle:
            raise Unreachable("The gateway has as many sessions with servers as it may have.")
        min(idle, key=lambda pair: pair[0])[1].stop.set()

    async def _sweep(self) -> None:
        for sweep in count(1):
            await asyncio.sleep(SWEEP)
            if sweep % LOOK_EVERY == 0:
                await self._end_what_is_over()
            for found in list(self._open.values()):
                if _is_idle(found, IDLE) and not _is_listened_to(found):
                    found.stop.set()
            now = time.monotonic()
            self._failing = {k: f for k, f in self._failing.items() if now - f.not_before < 60.0}

    async def _end_what_is_over(self) -> None:
        """A task that is over has no use for its processes. When Remit does not answer, nothing is permitted either."""
        for task in {task for task, _, _ in self._open}:
            try:
                state = member(await self._desk.ask("GET", f"/v1/tasks/{quote(task, safe='')}"), "state", str)
            except RemitError:
                continue
            if state != "open":
                await self.end(task)

    async def _close(self, key: Key) -> None:
        found = self._open.pop(key, None)
        if found is None or found.owner is None:
            return
        if _is_broken(found):
            self._failed(key, "it crashed or broke off")
        found.stop.set()
        await asyncio.wait([found.owner])

    async def end(self, task: str) -> None:
        """Close all that is this task's."""
        await asyncio.gather(*(self._close(key) for key in list(self._open) if key[0] == task))

    async def close(self) -> None:
        """Close everything."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        owners = [found.owner for found in self._open.values() if found.owner is not None]
        for found in self._open.values():
            found.stop.set()
            if not found.ready.done() and found.owner is not None:
                found.owner.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*owners, return_exceptions=True), 15)


@dataclass(frozen=True)
class TaskSessions:
    """See `seat.Sessions`."""

    pool: Pool
    task: str

    async def session(self, server: str, face: Face) -> Upstream:
        """See `Pool.session`."""
        return await self.pool.session(self.task, server, face)


def _is_over(found: _Open) -> bool:
    return found.stop.is_set() or _is_broken(found)


def _ready(found: _Open) -> Upstream | None:
    done = found.ready.done() and not found.ready.cancelled() and found.ready.exception() is None
    return found.ready.result() if done else None


def _is_broken(found: _Open) -> bool:
    upstream = _ready(found)
    return upstream is not None and upstream.broken


def _is_idle(found: _Open, seconds: float) -> bool:
    upstream = _ready(found)
    if upstream is None:
        return False
    return upstream.broken or (not upstream.calls and time.monotonic() - upstream.used_at > seconds)


def _is_listened_to(found: _Open) -> bool:
    upstream = _ready(found)
    return upstream is not None and not upstream.broken and bool(upstream.relay.heard.uris)


def _config(item: object) -> ServerConfig:
    texts = {name: member(item, name, str) for name in ("name", "url", "credential", "variable")}
    lists = {name: tuple(str(word) for word in member(item, name, list)) for name in ("command", "asks")}
    return ServerConfig(**texts, **lists)  # type: ignore[arg-type]
