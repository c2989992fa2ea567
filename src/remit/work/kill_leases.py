"""Kill what is due, in one lane an issuer: one that does not answer delays nobody else.

In its lane the oldest goes first. After `GIVE_UP` failures in a row an issuer counts as not answering: one lease
probes for all that wait, another each time, so that one that can never be killed blocks none. When a probe is
confirmed, everything that waits is killed at once, whenever its own next attempt would have been.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Conflict, NotRecallable, Refusal, Unavailable
from remit.domain.lease import IssuerOutage, Lease, LeaseState, Waits
from remit.domain.origin import Observation
from remit.domain.task import Task, TaskState
from remit.ports import Env

SYSTEM = Caller(CallerKind.SYSTEM, "end-leases")
KILL_TIMEOUT = 20.0
AT_ONCE = 16
GIVE_UP = 16
PROBE_MS = (1_000, 10_000)
DOWN_AFTER = 60_000


@dataclass
class Done:
    """What one lane did: `killed` leases needed nothing more now, `errors` are of the others."""

    issuer: str
    killed: int = 0
    tasks: list[str] = field(default_factory=list)
    settled: int = 0
    errors: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass
class _Health:
    """Failures since the last confirmed kill, the first of them at `since` (ms), the next probe at `probe_at`."""

    failures: int = 0
    since: int = 0
    probe_at: int = 0

    @property
    def failing(self) -> bool:
        return self.failures >= GIVE_UP


class Lanes:
    """Lanes over many passes; `told` gets what each did. An issuer whose lane still runs gets no second one."""

    def __init__(self, told: Callable[[Done], None] | None = None, down_after: int = DOWN_AFTER) -> None:
        self._told = told
        self._down_after = down_after
        self._health: dict[str, _Health] = {}
        self._running: dict[str, asyncio.Task[Done]] = {}

    def start(self, env: Env, now: int, leases: Iterable[Lease]) -> list[asyncio.Task[Done]]:
        """Begin a lane for every issuer that has none and something to do."""
        by_issuer: dict[str, list[Lease]] = {}
        for lease in leases:
            by_issuer.setdefault(lease.issuer, []).append(lease)
        started = []
        for issuer, due in by_issuer.items():
            if issuer not in self._running:
                started.append(asyncio.create_task(self._run(env, now, issuer, due)))
                self._running[issuer] = started[-1]
        return started

    async def finish(self) -> None:
        """Wait for those that run."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self, env: Env, now: int, issuer: str, due: list[Lease]) -> Done:
        done = Done(issuer)
        try:
            await self._lane(env, Call(SYSTEM, now), due, done)
        except (
            Unavailable
        ) as failure:  # nobody waits for this task: what it could not do is said, and done by a later pass
            done.errors.append(f"lane of {issuer}: {_describe(failure)}")
        finally:
            self._running.pop(issuer, None)
            if self._told is not None:
                self._told(done)
        return done

    async def _lane(self, env: Env, call: Call, due: list[Lease], done: Done) -> None:
        health = self._health.setdefault(done.issuer, _Health())
        if health.failing:
            if call.now < health.probe_at:
                return
            probe = min(due, key=lambda lease: (lease.retry_at, lease.id))
            if await self._one(env, call, probe, health, done):
                waiting = [lease for lease in await env.leases_in(LeaseState.ENDING) if lease.issuer == done.issuer]
                due = [one for one in waiting if one.due_at(call.now) or one.waits() is Waits.RETRY]
        left = iter(sorted(due, key=lambda lease: (lease.ending_at, lease.id)))

        async def worker() -> None:
            for lease in left:
                if health.failing:
                    return
                await self._one(env, call, lease, health, done)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        for task_id in dict.fromkeys(done.tasks):
            done.settled += await settle(env, call, task_id)
        await self._tell(env, call, health, done)

    async def _one(self, env: Env, call: Call, lease: Lease, health: _Health, done: Done) -> bool:
        error = await _end(env, call, lease, done)
        if not error:
            health.failures = health.since = 0
            done.killed += 1
            done.tasks.append(lease.task)
            return True
        done.errors.append(error)
        health.failures += 1
        health.since = health.since or call.now
        least, most = PROBE_MS
        health.probe_at = call.now + min(most, least * 2 ** min(10, max(0, health.failures - GIVE_UP)))
        return False

    async def _tell(self, env: Env, call: Call, health: _Health, done: Done) -> None:
        """Say once that it is down, and once that it is back, whichever process sees it first."""
        row = await env.store.get(IssuerOutage, done.issuer)
        lasts = row is not None and not row.over_at
        if health.since and not lasts and call.now - health.since >= self._down_after:
            waiting = sum(lease.issuer == done.issuer for lease in await env.leases_in(LeaseState.ENDING))
            because: events.Event = events.IssuerDown(done.issuer, health.since, waiting)
            await attempt(env, Change(because, call).put(IssuerOutage(done.issuer, health.since), was=row))
        elif row is not None and lasts and done.killed and not health.since:
            because = events.IssuerBack(done.issuer, row.since, done.killed)
            await attempt(env, Change(because, call).put(replace(row, over_at=call.now), was=row))


async def _end(env: Env, call: Call, lease: Lease, done: Done) -> str:
    """Kill one; returns "" when there is nothing more to do now, otherwise what went wrong."""
    current = await env.store.get(Lease, lease.id)
    if current is None or current.state is not LeaseState.ENDING:
        return ""
    began = env.clock()  # a mint may have landed while the answer was on its way
    try:
        await asyncio.wait_for(_kill(env, current), KILL_TIMEOUT)
    except NotRecallable as lives_on:
        outlives = Change(events.LeaseOutlives(current.id, current.task, lives_on.until), call)
        await attempt(env, outlives.put(current.outlives(lives_on.until, lives_on.message), was=current))
        return ""
    except Exception as failure:
        error = _describe(failure)
        because = events.LeaseKillFailed(current.id, current.task, current.attempts + 1, error)
        await attempt(env, Change(because, call).put(current.kill_failed(call.now, error), was=current))
        inside = getattr(failure, "inside", "")  # for the operator's log alone
        return f"{current.id}: {error}{f' ({inside})' if inside else ''}"
    call = replace(call, now=env.clock())
    if current.may_end_at(began):
        ended = Change(events.LeaseEnded(current.id, current.task), call)
        if await attempt(env, ended.put(current.ended(call.now), was=current)):
            done.seconds.append((call.now - current.ending_at) / 1000)
    else:
        early = Change(events.LeaseKilledEarly(current.id, current.task), call)
        await attempt(env, early.put(current.killed_early(), was=current))
    return ""


async def _kill(env: Env, lease: Lease) -> None:
    _, force = await env.in_force()
    config = force.catalogue.issuers.get(lease.issuer)
    if config is None:
        raise Unavailable(f"issuer {lease.issuer} is no longer configured")
    await env.issuer(config).kill(lease)


def _describe(failure: Exception) -> str:
    """Only our own words: an upstream's message may quote a secret (law 10)."""
    if isinstance(failure, Refusal):
        return f"{failure.code} {failure.message}"
    return type(failure).__name__


async def settle(env: Env, call: Call, task_id: str) -> int:
    """Settle an ended task whose last credential is dead. One that must wait makes room for others meanwhile."""
    task = await env.store.get(Task, task_id)
    if task is None or task.state is TaskState.OPEN or task.settled_at:
        return 0
    for state in (LeaseState.RESERVED, LeaseState.LIVE, LeaseState.ENDING):
        if await env.store.find(Lease, {"task": task_id, "state": state.value}, limit=1):
            if call.now >= task.check_at:
                waits = Change(events.TaskWaits(task.id), call)
                await attempt(env, waits.put(task.waits(call.now), was=task))
            return 0
    if not await _all_settled_below(env, task):
        if call.now >= task.check_at:
            await attempt(env, Change(events.TaskWaits(task.id), call).put(task.waits(call.now), was=task))
        return 0
    # What was handed on is traced to what any part of it has read, so the first task of all forgets.
    while not task.parent and (rows := await env.store.find(Observation, {"root": task_id, "kept": "yes"}, limit=200)):
        forgotten = Change(events.ObservationsForgotten(task_id, len(rows)), call)
        for row in rows:
            forgotten = forgotten.put(row.forgotten(), was=row)
        if not await attempt(env, forgotten):
            return 0
    count = len(await env.store.find(Lease, {"task": task_id}, limit=1000))
    because = events.TaskSettled(task.id, count)
    done = await attempt(env, Change(because, call).put(task.settled(call.now), was=task))
    above = await settle(env, call, task.parent) if done and task.parent else 0
    return int(done) + above


async def _all_settled_below(env: Env, task: Task) -> bool:
    after = ""
    while task.handed and (page := await env.store.find(Task, {"parent": task.id}, after=after, limit=1000)):
        if not all(child.settled_at for child in page):
            return False
        after = page[-1].key
    return True


async def attempt(env: Env, change: Change) -> bool:
    """Commit; False when somebody else moved it first: the next pass looks again."""
    try:
        await env.store.commit(change)
    except Conflict:
        return False
    return True
