"""End leases: expiry, revocation, failed mints and crash recovery, in one path (laws 4 and 5).

One pass: end the tasks whose time is over, mark every lease that must die, and start a lane for each issuer that has
something due (see `kill_leases`), which settles the tasks whose last credential is confirmed dead. Any step may crash
and is taken again by the next pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from remit.domain import events
from remit.domain.above import Branch
from remit.domain.approval import Approval, ApprovalState
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.ports import Env

from .kill_leases import SYSTEM, Lanes, attempt, settle

PAGE = 1000
TASKS = 500


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


async def end_leases(env: Env, now: int, *, lanes: Lanes | None = None) -> Pass:
    """Do everything that is due at `now`. With `lanes` those go on by themselves; otherwise they are waited for."""
    call = Call(SYSTEM, now)
    expired = 0
    for approval in await env.store.due(Approval, now):
        await _expire_approval(env, call, approval)
    settled = 0
    while True:
        tasks: Sequence[Task] = await env.store.due(Task, now, limit=TASKS)
        for task in tasks:
            expired += await _end_task(env, call, task, TaskState.EXPIRED, "deadline")
            expired += await _close(env, call, task.id)
        if len(tasks) < TASKS:
            break
        settled += sum([await settle(env, call, task.id) for task in tasks])  # what must wait makes room
    own = lanes or Lanes()
    started = own.start(env, now, await _to_kill(env, call))
    done = await asyncio.gather(*started) if lanes is None else []
    settled += sum([await settle(env, call, task.id) for task in tasks])
    return Pass(
        expired,
        sum(one.killed for one in done),
        sum(len(one.errors) for one in done),
        settled + sum(one.settled for one in done),
        tuple(error for one in done for error in one.errors),
    )


async def _to_kill(env: Env, call: Call) -> list[Lease]:
    """Everything due, marked; what its time has come for would otherwise wait for its issuer to be marked."""
    due = await env.store.due(Lease, call.now, limit=PAGE)
    marked = [lease if lease.state is LeaseState.ENDING else await _mark(env, call, lease, "expired") for lease in due]
    found = [lease for lease in marked if lease is not None]
    if len(due) < PAGE:
        return found
    # More wait than one page, for an issuer that does not answer: what is due behind them must not wait with them.
    for state in (LeaseState.RESERVED, LeaseState.LIVE):
        for lease in await env.leases_in(state):
            if lease.due_at(call.now):
                await _mark(env, call, lease, "expired")
    return [lease for lease in await env.leases_in(LeaseState.ENDING) if lease.due_at(call.now)]


async def _expire_approval(env: Env, call: Call, approval: Approval) -> None:
    because = events.ApprovalExpired(approval.id, approval.task)
    await attempt(env, Change(because, call).put(approval.expired(), was=approval))


async def _end_task(env: Env, call: Call, task: Task, how: TaskState, reason: str) -> int:
    if task.state is not TaskState.OPEN:
        return 0
    change = Change(events.TaskEnded(task.id, task.agent, how.value, reason), call)
    change = change.put(task.ended(how, call.now, reason), was=task)
    branch = await env.store.get(Branch, task.id) if task.handed else None
    return int(await attempt(env, change.put(branch.ended(call.now), was=branch) if branch else change))


async def _close(env: Env, call: Call, task_id: str) -> int:
    """Everything an ended task leaves open: its leases are to end, its approvals are void, and what it handed on
    ends too, which can do nothing since then; returns how many tasks that were.
    """
    task = await env.store.get(Task, task_id)
    if task is None or task.state is TaskState.OPEN:
        return 0
    below = 0
    while children := await env.store.find(Task, {"parent": task_id, "state": TaskState.OPEN.value}):
        done = [await _end_task(env, call, child, TaskState.REVOKED, f"{task_id} ended") for child in children]
        below += sum(done)
        for child in children:
            below += await _close(env, call, child.id)
        if not any(done):
            break  # somebody moves them all the time: the next pass looks again
    for state in (LeaseState.RESERVED, LeaseState.LIVE):
        after = ""
        while leases := await env.store.find(Lease, {"task": task_id, "state": state.value}, after=after):
            await asyncio.gather(*(_mark(env, call, lease, task.state.value, task.ended_at) for lease in leases))
            after = leases[-1].key
    for waiting in (ApprovalState.PENDING, ApprovalState.GRANTED):  # nobody is to be asked about what is over
        for approval in await env.store.find(Approval, {"task": task_id, "state": waiting.value}, limit=1000):
            await _expire_approval(env, call, approval)
    return below


async def _mark(env: Env, call: Call, lease: Lease, reason: str, since: int = 0) -> Lease | None:
    ending = lease.ending(call.now, reason, since)
    because = events.LeaseEnding(lease.id, lease.task, reason)
    await attempt(env, Change(because, call).put(ending, was=lease))
    return await env.store.get(Lease, lease.id)
