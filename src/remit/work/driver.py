"""Runs the reconcilers beside the server, in one process at a time: when woken, and after a while in any case."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import structlog

from remit.domain.errors import UnknownRow
from remit.ports import Env, LogIndex, Turns, Wake, Wakes

from .ask_providers import ask_providers
from .contain import tend_findings
from .end_leases import end_leases
from .index_log import index_log
from .kill_leases import Done, Lanes
from .notify import notify
from .poll_signals import poll_signals
from .recognise import recognise
from .redecide import redecide
from .rotate_keys import rotate_keys
from .sequence import Log as Sequenced
from .sequence import sequence
from .steady import Steady
from .sweep_orphans import sweep_orphans
from .tend_connections import tend_connections
from .tend_reviews import tend_reviews
from .tend_secrets import tend_secrets
from .tend_successions import tend_successions
from .transmit import Transmitting
from .turn import Turn

_log = structlog.get_logger("remit.work")


class Log(Sequenced, LogIndex, Wakes, Turns, Protocol):
    """What the passes over the log need of a store, what wakes all passes, and whose turn they are."""


class Observer(Protocol):
    """Told what passes do; the web's metrics are one."""

    def passed(self, name: str, *, ok: bool) -> None: ...

    def killed(self, count: int, failed: int) -> None: ...

    def dead(self, issuer: str, seconds: float) -> None: ...


@dataclass(frozen=True)
class Reconciler:
    """`once` does what is due and says whether anything moved: then it runs again at once, else after `every` seconds
    or when woken. `everywhere`: in every process, for what that process itself holds.
    """

    name: str
    once: Callable[[], Awaitable[object]]
    every: float
    woken: Wake | None = None
    everywhere: bool = False
    finish: Callable[[], Awaitable[None]] | None = None


class Driver:
    """`nudge()` from any verb wakes those that end leases and tasks at once, in whichever process they run; `stop()`
    lets the running passes finish and gives the turn back.
    """

    def __init__(self, clock: Callable[[], int], observer: Observer) -> None:
        self._clock = clock
        self._observer = observer
        self._log: Log | None = None
        self._turn = Turn()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._lanes = Lanes(self._killed)
        self._all: Sequence[Reconciler] = ()

    def ours(self) -> bool:
        """Whether the reconcilers run in this process, as far as it knows."""
        return self._turn.ours()

    def nudge(self) -> None:
        """There may be something to do now."""
        if self._log is not None:
            self._log.wake(Wake.NUDGED)

    def start(
        self,
        env: Env,
        log: Log,
        log_name: str,
        forget: Callable[[int], Awaitable[int]],
        more: Sequence[Reconciler] = (),
    ) -> None:
        """Begin, with `more` that not every server has; needs a running loop."""
        self._log = log
        self._all = (*self._reconcilers(env, log, log_name, forget), *more)
        self._keeping = asyncio.create_task(self._turn.keep(log))
        for one in self._all:
            self._tasks.append(asyncio.create_task(self._run(one, log)))

    def _reconcilers(
        self, env: Env, log: Log, log_name: str, forget: Callable[[int], Awaitable[int]]
    ) -> Sequence[Reconciler]:
        polled: dict[str, int] = {}
        turns: dict[str, int] = {}
        transmitting = Transmitting()
        steady = Steady(self._clock)

        async def leases() -> bool:
            return not (await end_leases(env, self._clock(), lanes=self._lanes)).idle

        return (
            Reconciler("end_leases", leases, 0.5, Wake.NUDGED),
            Reconciler("redecide", lambda: redecide(env, self._clock()), 0.5, Wake.NUDGED),
            Reconciler("tend_secrets", lambda: tend_secrets(env, self._clock()), 0.5),
            Reconciler("recognise", lambda: recognise(env, self._clock()), 0.5, Wake.NUDGED),
            Reconciler("tend_findings", lambda: tend_findings(env, self._clock()), 0.5, Wake.NUDGED),
            Reconciler("tend_successions", lambda: tend_successions(env, self._clock()), 2.0),
            Reconciler("tend_reviews", lambda: tend_reviews(env, log, self._clock()), 5.0),
            Reconciler("tend_connections", lambda: tend_connections(env, self._clock()), 0.5),
            Reconciler("sequence", lambda: sequence(log, env.signer, log_name), 0.1, Wake.URGENT),
            Reconciler("index_log", lambda: index_log(log), 0.25),
            Reconciler("read_keys", env.signer.refresh, 0.25, Wake.KEYS, everywhere=True),
            Reconciler("rotate_keys", lambda: rotate_keys(env, self._clock()), 0.25),
            Reconciler("notify", lambda: notify(env, self._clock()), 0.5),
            Reconciler("ask_providers", lambda: ask_providers(env, self._clock(), polled), 0.5),
            Reconciler("poll_signals", lambda: poll_signals(env, self._clock(), turns), 0.5),
            Reconciler(
                "transmit",
                lambda: transmitting.look(env, log),
                0.25,
                Wake.SEQUENCED,
                finish=transmitting.finish,
            ),
            Reconciler("sweep_orphans", lambda: sweep_orphans(env, self._clock()), 0.5),
            Reconciler("forget", lambda: forget(steady.now()), 10.0),
        )

    async def stop(self) -> None:
        """Finish the passes that run, then return."""
        self._stopping.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._lanes.finish()
        await asyncio.gather(*(one.finish() for one in self._all if one.finish), return_exceptions=True)
        if self._log is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            await self._turn.give_back(self._log)

    def _killed(self, done: Done) -> None:
        self._observer.killed(done.killed, len(done.errors))
        for seconds in done.seconds:
            self._observer.dead(done.issuer, seconds)
        for error in done.errors:
            _log.warning("kill failed, will be retried", issuer=done.issuer, lease=error)
        if done.killed:
            self.nudge()

    async def _run(self, one: Reconciler, log: Log) -> None:
        with ExitStack() as stack:
            woken = stack.enter_context(log.woken(one.woken)) if one.woken else asyncio.Event()
            while not self._stopping.is_set():
                if not one.everywhere and not self._turn.ours():
                    await self._wait(one.every, self._turn.taken)
                    continue
                woken.clear()
                moved: object = False
                try:
                    moved = await one.once()
                    self._observer.passed(one.name, ok=True)
                except Exception as failure:  # a reconciler never dies: it is what everything else relies on
                    self._observer.passed(one.name, ok=False)
                    if isinstance(failure, UnknownRow):
                        await self._turn.leave_to_others(log)
                    _log.error("pass failed", name=one.name, error=type(failure).__name__, exc_info=failure)
                if not moved:
                    await self._wait(one.every, woken)

    async def _wait(self, seconds: float, woken: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(self._stopping.wait()), asyncio.ensure_future(woken.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
