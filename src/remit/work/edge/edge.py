"""The reconcilers of an edge, run beside its server, and what its surface asks of them (`ports.estate.Place`)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Protocol

import structlog

from remit.domain.caller import AccessKey, Call, Caller, CallerKind
from remit.domain.errors import NotEntrusted, Refusal, SeatLost, Unauthenticated, Unavailable
from remit.domain.estate import Held
from remit.domain.flow import Json
from remit.formats import rfc9457
from remit.ports import Env
from remit.ports.estate import Bus, Centre

from ..steady import Steady
from .beat import beat
from .carried import Carried
from .follow import Follow, held
from .freshness import NEVER, Freshness
from .known_keys import KnownKeys
from .let_go import let_go
from .report import Report
from .take import Take

EXTEND_EVERY = 0.1
REPORT_EVERY = 0.5
FORGET_EVERY = 10.0
LONGEST_PAUSE = 2.0
SLOWEST_BEAT = 1.0
PATIENCE = 5.0
ELSEWHERE = 10_000  # ms for which a task that the centre decides is not asked for again
_log = structlog.get_logger("remit.edge")


class Observer(Protocol):
    """Told what passes do; the web's metrics are one."""

    def passed(self, name: str, *, ok: bool) -> None: ...


class EdgeWork:
    """`start` needs a running loop; `close` lets every task go home, as far as the centre is there, then stops."""

    def __init__(
        self,
        env: Env,
        centre: Centre,
        freshness: Freshness,
        follow: Follow,
        take: Take,
        report: Report,
        observer: Observer,
        bus: Bus | None = None,
    ) -> None:
        self._env = env
        self._centre = centre
        self._freshness = freshness
        self._follow = follow
        self._take = take
        self._report = report
        self._observer = observer
        self._woken = asyncio.Event()
        self._behind = asyncio.Event()
        self._carried = Carried(bus, follow, self._behind) if bus else None
        self.flaw = ""
        self._closing = False
        self._joined = False
        self._elsewhere: dict[str, int] = {}
        self._keys = KnownKeys(env, centre, freshness.now)
        self._tasks: list[asyncio.Task[None]] = []
        self._ready = asyncio.Event()

    # --- running ---

    async def begin(self) -> None:
        """Go on where the store is."""
        await self._report.begin()
        await self._take.begin()
        if await self._follow.begin():
            self._ready.set()

    def start(self, forget: Callable[[int], Awaitable[int]]) -> None:
        """Run every pass again and again, until `close`."""

        steady = Steady(self._env.clock)

        async def tidy() -> bool:
            return bool(await forget(steady.now()))

        passes: tuple[tuple[str, Callable[[], Awaitable[bool]], Callable[[], float], asyncio.Event | None], ...] = (
            ("sequence", self._report.extend, lambda: EXTEND_EVERY, None),
            ("report", self.report, lambda: REPORT_EVERY, self._woken),
            ("beat", self.beat, self._between_beats, None),
            ("follow", self.pushed, lambda: 0.05, None),
            *((("bus", self.carried, lambda: 0.05, None),) if self._carried else ()),
            ("pull", self.pull, lambda: 60.0, self._behind),
            ("forget", tidy, lambda: FORGET_EVERY, None),
        )
        self._tasks = [asyncio.create_task(self._run(*one)) for one in passes]

    async def close(self, seconds: float = PATIENCE) -> int:
        """Let every task go home, and wait so long for it; returns how many did not. They are held after a restart."""
        self._closing = True
        with suppress(TimeoutError, Refusal):
            async with asyncio.timeout(seconds):
                await self.beat()  # if nobody is there, it is better to go on with them at the next start
                rows = await held(self._env)
                call = Call(Caller(CallerKind.SYSTEM, "edge"), self._env.clock())
                await asyncio.gather(*(let_go(self._env, call, row.task, "this edge is closing") for row in rows))
                await self._report.one_pass()
                await self._report.one_pass()  # the returns themselves
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return len(await held(self._env)) + len(await held(self._env, "leaving"))

    async def holds(self) -> int:
        """How many tasks are decided here."""
        return len(await held(self._env))

    def nudge(self) -> None:
        """There may be something to report or to return now."""
        self._woken.set()

    async def _run(
        self,
        name: str,
        one_pass: Callable[[], Awaitable[bool]],
        idle: Callable[[], float],
        woken: asyncio.Event | None,
    ) -> None:
        failures = 0
        while True:
            moved = False
            try:
                if woken is not None:
                    woken.clear()
                moved = await one_pass()
                failures = 0
                self._observer.passed(name, ok=True)
            except SeatLost as lost:
                self._freshness.give_up()
                self.flaw = lost.message
                failures += 1
                self._observer.passed(name, ok=False)
                self._tell(name, failures, lost)
            except Exception as failure:  # whatever it is: the edge goes on, and stale is the worst it becomes
                failures += 1
                self._observer.passed(name, ok=False)
                self._tell(name, failures, failure)
            if moved:
                continue
            pause = idle() if not failures else min(LONGEST_PAUSE, 0.1 * 2 ** min(failures, 8)) * random.uniform(0.5, 1)  # noqa: S311
            if failures and name == "beat":
                pause = idle()
            await self._pause(pause, woken if not failures else None)

    @staticmethod
    async def _pause(seconds: float, woken: asyncio.Event | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await (woken or asyncio.Event()).wait()

    @staticmethod
    def _tell(name: str, failures: int, failure: Exception) -> None:
        if failures & (failures - 1):  # the first, the second, the fourth, …
            return
        if isinstance(failure, Refusal):
            why = {"code": failure.code, "why": failure.message, "inside": failure.inside}
            _log.warning("pass failed", name=name, times=failures, **why)
        else:
            _log.error("pass failed", name=name, times=failures, error=type(failure).__name__, exc_info=failure)

    # --- the passes ---

    async def pushed(self) -> bool:
        """Join, if that is to come, and apply frames as long as they are pushed, and come no other way."""
        await self.join()
        if self._comes_otherwise():
            return False
        async with aclosing(self._centre.pushed(self._follow.size)) as frames:
            async for frame in frames:
                if not await self._follow.apply(frame):
                    self._behind.set()
                if self._comes_otherwise():
                    break
        return False

    async def carried(self) -> bool:
        """Apply frames that come another way, as long as they do."""
        await self._ready.wait()
        return await self._carried.once() if self._carried else False

    def _comes_otherwise(self) -> bool:
        return self._carried is not None and self._carried.up()

    async def join(self) -> None:
        """Begin with a snapshot, once, unless there are tasks here that it would pass over."""
        if not self._follow.ready:
            await self._follow.join()
            self._ready.set()
        elif not self._joined and not (await held(self._env) or await held(self._env, "leaving")):
            await self._follow.join()  # nothing is held that a snapshot could pass over
        self._joined = True

    async def pull(self) -> bool:
        """Ask for what is missing."""
        await self._ready.wait()
        await self._follow.pull()
        return False

    async def beat(self) -> bool:
        """Ask how fresh this edge is."""
        await self._ready.wait()
        if await beat(self._env, self._centre, self._follow, self._freshness, self._report):
            self._behind.set()
        return False

    def _between_beats(self) -> float:
        edge = self._follow.edge
        shortest = min(edge.stale.values(), default=5_000) / 1000 if edge is not None else 5.0
        return min(SLOWEST_BEAT, shortest / 5)

    async def report(self) -> bool:
        """Tell the centre what happened here, and let tasks go home."""
        await self._ready.wait()
        return await self._report.one_pass()

    # --- what the surface asks ---

    @property
    def url(self) -> str:
        """See `ports.estate.Place`."""
        return self._follow.edge.url if self._follow.edge is not None else ""

    async def take(self, task: str) -> None:
        """See `ports.estate.Place`."""
        row = await self._env.store.get(Held, task)
        if row is not None and row.state == "held":
            return
        if self._closing or self._freshness.now() < self._elsewhere.get(task, 0):
            raise NotEntrusted("This task is decided at the centre.", next_step="Ask there.")
        if not self._follow.ready:
            raise Unavailable("This edge has not heard from its centre yet.", next_step="Try again in a moment.")
        if not self._report.may_take(task):
            self.nudge()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while not self._report.may_take(task):
                        await self._report.settled()
        if not self._report.may_take(task):
            raise Unavailable("The centre cannot be asked for this task.", next_step="Ask the centre itself.")
        try:
            await self._take.take(task)
        except NotEntrusted:
            self._stays_elsewhere(task)
            raise
        except Unauthenticated as flaw:
            step = "See what this edge logs."
            raise Unavailable("What the centre said does not verify.", next_step=step, inside=flaw.inside) from flaw

    def _stays_elsewhere(self, task: str) -> None:
        if len(self._elsewhere) >= 10_000:
            self._elsewhere.clear()
        self._elsewhere[task] = self._freshness.now() + ELSEWHERE

    async def bring_home(self, call: Call, task: str, reason: str) -> None:
        """See `ports.estate.Place`."""
        self._stays_elsewhere(task)
        await let_go(self._env, call, task, reason)
        try:
            async with asyncio.timeout(PATIENCE):
                while (row := await self._env.store.get(Held, task)) is not None and not row.gone:
                    settled = asyncio.ensure_future(self._report.settled())
                    self.nudge()
                    await settled
        except TimeoutError as late:
            raise Unavailable(
                "This call is decided at the centre, which cannot be told what happened here.",
                next_step="Try again when the link between this edge and the centre is up.",
            ) from late

    def must_be_heard(self) -> None:
        """See `ports.estate.Place`."""
        if self._report.too_much:
            raise Unavailable(
                "Too much of what this edge decided has not been reported, so it decides nothing more.",
                next_step="It goes on by itself once the centre has heard it.",
            )

    async def pass_on(self, path: str, body: Json, trace: str) -> Json:
        """See `ports.estate.Place`."""
        status, answer = await self._centre.call(path, body, trace)
        if status == 200:
            return answer
        raise rfc9457.read(status, answer)

    async def access_key(self, digest: str, now: int) -> AccessKey | None:
        """See `ports.estate.Place`."""
        return await self._keys.find(digest, now)

    def status(self) -> dict[str, Any]:
        """See `ports.estate.Place`."""
        age = self._freshness.age()
        edge = self._follow.edge
        return {
            "edge": self._env.place,
            "centre": self._env.issuer_url,
            "url": self.url,
            "known": edge is not None,
            "size": max(self._follow.size, 0),
            "age_ms": age if age < NEVER else -1,
            "bounds_ms": {effect.word: bound for effect, bound in edge.stale.items()} if edge is not None else {},
            "backlog": self._report.backlog,
            "reported": max(self._report.received, 0),
            "seat": self._follow.row.seat if self._follow.ready else "",
            "refused_statements": self._follow.refused,
            "dropped_messages": self._carried.dropped if self._carried else 0,
            "frames_by": "nats" if self._comes_otherwise() else "centre",
            "flaw": self.flaw or self._report.flaw or self._report.refused,
        }
