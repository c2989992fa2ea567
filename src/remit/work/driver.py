"""Runs the reconcilers beside the server: when nudged, and every half second in any case."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from remit.ports import Env, LogIndex

from .ask_providers import ask_providers
from .end_leases import end_leases
from .index_log import index_log
from .kill_leases import Done, Lanes
from .notify import notify
from .rotate_keys import rotate_keys
from .sequence import Log as Sequenced
from .sequence import sequence
from .sweep_orphans import sweep_orphans
from .tend_connections import tend_connections
from .tend_secrets import tend_secrets

IDLE = 0.5
SEQUENCE_EVERY = 0.1
INDEX_EVERY = 0.25
FORGET_EVERY = 10.0
KEYS_EVERY = 0.25
_log = structlog.get_logger("remit.work")


class Log(Sequenced, LogIndex, Protocol):
    """What the passes over the log need of a store."""


class Observer(Protocol):
    """Told what passes do; the web's metrics are one."""

    def passed(self, name: str, *, ok: bool) -> None: ...

    def killed(self, count: int, failed: int) -> None: ...

    def dead(self, issuer: str, seconds: float) -> None: ...


class Driver:
    """`nudge()` from any verb wakes the lease reconciler at once; `stop()` lets the running pass finish."""

    def __init__(self, clock: Callable[[], int], observer: Observer) -> None:
        self._clock = clock
        self._observer = observer
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._lanes = Lanes(self._killed)

    def nudge(self) -> None:
        """There may be something to do now."""
        self._woken.set()

    def start(self, env: Env, log: Log, log_name: str, forget: Callable[[int], Awaitable[int]]) -> None:
        """Begin; needs a running loop."""

        async def leases() -> bool:
            return not (await end_leases(env, self._clock(), lanes=self._lanes)).idle

        async def secrets() -> bool:
            return bool(await tend_secrets(env, self._clock()))

        async def connections() -> bool:
            return bool(await tend_connections(env, self._clock()))

        async def extend() -> bool:
            return bool(await sequence(log, env.signer, log_name))

        async def index() -> bool:
            return bool(await index_log(log))

        async def tidy() -> bool:
            return bool(await forget(self._clock()))

        async def tell() -> bool:
            return bool(await notify(env, self._clock()))

        polled: dict[str, int] = {}

        async def ask() -> bool:
            return bool(await ask_providers(env, self._clock(), polled))

        async def keys() -> bool:
            return await rotate_keys(env, self._clock())

        self._tasks = [
            asyncio.create_task(self._run("end_leases", leases, IDLE, self._woken)),
            asyncio.create_task(self._run("tend_secrets", secrets, IDLE, None)),
            asyncio.create_task(self._run("tend_connections", connections, IDLE, None)),
            asyncio.create_task(self._run("sequence", extend, SEQUENCE_EVERY, None)),
            asyncio.create_task(self._run("index_log", index, INDEX_EVERY, None)),
            asyncio.create_task(self._run("rotate_keys", keys, KEYS_EVERY, None)),
            asyncio.create_task(self._run("notify", tell, IDLE, None)),
            asyncio.create_task(self._run("ask_providers", ask, IDLE, None)),
            asyncio.create_task(self._run("sweep_orphans", lambda: sweep_orphans(env, self._clock()), IDLE, None)),
            asyncio.create_task(self._run("forget", tidy, FORGET_EVERY, None)),
        ]

    async def stop(self) -> None:
        """Finish the passes that run, then return."""
        self._stopping.set()
        self._woken.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._lanes.finish()

    def _killed(self, done: Done) -> None:
        self._observer.killed(done.killed, len(done.errors))
        for seconds in done.seconds:
            self._observer.dead(done.issuer, seconds)
        for error in done.errors:
            _log.warning("kill failed, will be retried", issuer=done.issuer, lease=error)
        if done.killed:
            self.nudge()

    async def _run(
        self, name: str, one_pass: Callable[[], Awaitable[bool]], idle: float, woken: asyncio.Event | None
    ) -> None:
        while not self._stopping.is_set():
            moved = False
            try:
                if woken is not None:
                    woken.clear()
                moved = await one_pass()
                self._observer.passed(name, ok=True)
            except Exception as failure:  # a reconciler never dies: it is what everything else relies on
                self._observer.passed(name, ok=False)
                _log.error("pass failed", name=name, error=type(failure).__name__, exc_info=failure)
            if not moved:
                await self._wait(idle, woken)

    async def _wait(self, seconds: float, woken: asyncio.Event | None) -> None:
        waits = [asyncio.ensure_future(self._stopping.wait())]
        if woken is not None:
            waits.append(asyncio.ensure_future(woken.wait()))
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
