"""End leases: expiry, revocation, failed mints and crash recovery, in one path (laws 4 and 5).

One pass: end the tasks whose time is over, mark every lease of an ended task, kill what is due, and settle
the tasks whose last credential is confirmed dead. Any step may crash and is taken again by the next pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from remit.domain import events
from remit.domain.approval import Approval, ApprovalState
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Conflict, NotRecallable, Refusal, Unavailable
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.ports import Env

SYSTEM = Caller(CallerKind.SYSTEM, "end-leases")
KILL_TIMEOUT = 20.0


@dataclass(frozen=True)
class Pass:
    """What one pass did; `failed` counts kills that an issuer did not confirm."""

    expired: int = 0
    killed: int = 0
    failed: int = 0
    settled: int = 0
    errors: tuple[str, ...] = field(default=())

    @property
    def idle(self) -> bool:
        """Nothing moved."""
        return not (self.expired or self.killed or self.settled)


async def end_leases(env: Env, now: int, *, concurrency: int = 16) -> Pass:
    """Do everything that is due at `now`; returns when this round is done, not when all is dead."""
    call = Call(SYSTEM, now)
    expired = 0
    for approval in await env.store.due(Approval, now):
        await _expire_approval(env, call, approval)
    tasks: Sequence[Task] = await env.store.due(Task, now, limit=500)
    for task in tasks:
        expired += await _expire_task(env, call, task)
        await _close(env, call, task.id)
    gate = asyncio.Semaphore(concurrency)
    due = await env.store.due(Lease, now, limit=500)
    outcomes = await asyncio.gather(*(_end(env, call, lease, gate) for lease in due))
    touched = dict.fromkeys([*(task.id for task in tasks), *(lease.task for lease in due)])
    settled = sum([await _settle(env, call, task_id) for task_id in touched])
    errors = tuple(o for o in outcomes if o)
    return Pass(expired, sum(o == "" for o in outcomes), len(errors), settled, errors)


async def _expire_approval(env: Env, call: Call, approval: Approval) -> None:
    because = events.ApprovalExpired(approval.id, approval.task)
    await _try(env, Change(because, call).put(approval.expired(), was=approval))


async def _expire_task(env: Env, call: Call, task: Task) -> int:
    if task.state is not TaskState.OPEN:
        return 0
    ended = task.ended(TaskState.EXPIRED, call.now, "deadline")
    because = events.TaskEnded(task.id, task.agent, TaskState.EXPIRED.value, "deadline")
    return int(await _try(env, Change(because, call).put(ended, was=task)))


async def _close(env: Env, call: Call, task_id: str) -> None:
    """Everything an ended task leaves open: its leases are to end, its approvals are void."""
    task = await env.store.get(Task, task_id)
    if task is None or task.state is TaskState.OPEN:
        return
    for state in (LeaseState.RESERVED, LeaseState.LIVE):
        after = ""
        while leases := await env.store.find(Lease, {"task": task_id, "state": state.value}, after=after):
            for lease in leases:
                await _mark(env, call, lease, task.state.value)
            after = leases[-1].key
    for waiting in (ApprovalState.PENDING, ApprovalState.GRANTED):  # nobody is to be asked about what is over
        for approval in await env.store.find(Approval, {"task": task_id, "state": waiting.value}, limit=1000):
            await _expire_approval(env, call, approval)


async def _mark(env: Env, call: Call, lease: Lease, reason: str) -> Lease | None:
    ending = lease.ending(call.now, reason)
    because = events.LeaseEnding(lease.id, lease.task, reason)
    await _try(env, Change(because, call).put(ending, was=lease))
    return await env.store.get(Lease, lease.id)


async def _end(env: Env, call: Call, lease: Lease, gate: asyncio.Semaphore) -> str:
    """Kill one; returns "" when it is dead, otherwise what went wrong."""
    async with gate:
        current: Lease | None = lease
        if lease.state in (LeaseState.RESERVED, LeaseState.LIVE):
            current = await _mark(env, call, lease, "expired")
        if current is None or current.state is not LeaseState.ENDING:
            return ""
        try:
            await asyncio.wait_for(_kill(env, current), KILL_TIMEOUT)
        except NotRecallable as lives_on:
            outlives = Change(events.LeaseOutlives(current.id, current.task, lives_on.until), call)
            await _try(env, outlives.put(current.outlives(lives_on.until, lives_on.message), was=current))
            return ""
        except Exception as failure:
            error = _describe(failure)
            because = events.LeaseKillFailed(current.id, current.task, current.attempts + 1, error)
            await _try(env, Change(because, call).put(current.kill_failed(call.now, error), was=current))
            return f"{current.id}: {error}"
        call = replace(call, now=env.clock())
        if current.may_end_at(call.now):
            ended = Change(events.LeaseEnded(current.id, current.task), call)
            await _try(env, ended.put(current.ended(call.now), was=current))
        else:
            early = Change(events.LeaseKilledEarly(current.id, current.task), call)
            await _try(env, early.put(current.killed_early(), was=current))
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


async def _settle(env: Env, call: Call, task_id: str) -> int:
    """Settle an ended task whose last credential is dead. One that must wait makes room for others meanwhile."""
    task = await env.store.get(Task, task_id)
    if task is None or task.state is TaskState.OPEN or task.settled_at:
        return 0
    for state in (LeaseState.RESERVED, LeaseState.LIVE, LeaseState.ENDING):
        if await env.store.find(Lease, {"task": task_id, "state": state.value}, limit=1):
            if call.now >= task.check_at:
                waits = Change(events.TaskWaits(task.id), call)
                await _try(env, waits.put(task.waits(call.now), was=task))
            return 0
    count = len(await env.store.find(Lease, {"task": task_id}, limit=1000))
    because = events.TaskSettled(task.id, count)
    return int(await _try(env, Change(because, call).put(task.settled(call.now), was=task)))


async def _try(env: Env, change: Change) -> bool:
    """Somebody else moved it first: the next pass looks again."""
    try:
        await env.store.commit(change)
    except Conflict:
        return False
    return True
