"""Sessions with servers, each for one task alone: opened when needed, closed when idle, in error, or over.

Each lives in a task of its own, because the SDK's scopes must be left where they were entered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from remit.domain.catalogue import ServerConfig
from remit_client import Denied, RemitError, Unreachable
from remit_client.wire import member

from .asks import Desk
from .secrets import injected
from .upstream import Upstream, connected

IDLE = 300.0
SESSIONS = 512
SWEEP = 2.0
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
        self._asked_at = -SERVERS_FOR
        self._open: dict[tuple[str, str], _Open] = {}
        self._failing: dict[tuple[str, str], _Failing] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def servers(self) -> Mapping[str, ServerConfig]:
        """What the catalogue in force says, a few seconds old at most."""
        if time.monotonic() - self._asked_at > SERVERS_FOR:
            answer = await self._desk.ask("GET", "/v1/servers")
            found = [_config(item) for item in member(answer, "items", list)]
            self._servers = {c.name: c for c in found if not self._only or c.name in self._only}
            self._asked_at = time.monotonic()
        return self._servers

    def of(self, task: str) -> TaskSessions:
        """One task's own."""
        return TaskSessions(self, task)

    async def session(self, task: str, server: str) -> Upstream:
        """The task's session with this server; a new one when there is none, or when the server's entry has changed."""
        config = (await self.servers()).get(server)
        if config is None:
            raise Denied(f"There is no server {server}.", reasons=("tool_unknown",))
        key = (task, server)
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
        found = self._open.get((task, server))
        ready = found is not None and found.ready.done() and not found.ready.cancelled()
        if found is None or not ready or found.ready.exception() is not None:
            return None
        return found.ready.result().last(own)

    def _begin(self, key: tuple[str, str], config: ServerConfig) -> _Open:
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

    async def _own(self, key: tuple[str, str], mine: _Open) -> None:
        task, config = key[0], mine.config
        wanted = {config.variable or "Authorization": config.credential} if config.credential else {}
        try:
            async with (
                injected(self._desk, task, wanted, mine.stop.set) as held,
                asyncio.timeout(START_IN) as starting,
                connected(config, held=held) as upstream,
            ):
                starting.reschedule(None)
                mine.ready.set_result(upstream)
                await mine.stop.wait()
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

    def _failed(self, key: tuple[str, str], why: str) -> None:
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
        while True:
            await asyncio.sleep(SWEEP)
            for found in list(self._open.values()):
                if _is_idle(found, IDLE):
                    found.stop.set()
            now = time.monotonic()
            self._failing = {k: f for k, f in self._failing.items() if now - f.not_before < 60.0}

    async def _close(self, key: tuple[str, str]) -> None:
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

    async def session(self, server: str) -> Upstream:
        """See `Pool.session`."""
        return await self.pool.session(self.task, server)


def _is_over(found: _Open) -> bool:
    return found.stop.is_set() or _is_broken(found)


def _is_broken(found: _Open) -> bool:
    done = found.ready.done() and not found.ready.cancelled() and found.ready.exception() is None
    return done and found.ready.result().broken


def _is_idle(found: _Open, seconds: float) -> bool:
    if not found.ready.done() or found.ready.cancelled() or found.ready.exception() is not None:
        return False
    upstream = found.ready.result()
    return upstream.broken or (not upstream.calls and time.monotonic() - upstream.used_at > seconds)


def _config(item: object) -> ServerConfig:
    texts = {name: member(item, name, str) for name in ("name", "url", "credential", "variable")}
    lists = {name: tuple(str(word) for word in member(item, name, list)) for name in ("command", "asks")}
    return ServerConfig(**texts, **lists)  # type: ignore[arg-type]
