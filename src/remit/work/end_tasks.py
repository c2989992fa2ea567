"""End tasks, and everything that an ended task leaves open."""

from __future__ import annotations

import asyncio

from remit.domain import events
from remit.domain.above import Branch, ending
from remit.domain.approval import Approval, ApprovalState
from remit.domain.caller import Call
from remit.domain.change import Change, Row
from remit.domain.lease import Lease, LeaseState
from remit.domain.standing_yes import StandingYes
from remit.domain.task import Task, TaskState
from remit.ports import Env

from .kill_leases import attempt
from .tend_approvals import expire


async def end_task(env: Env, call: Call, task: Task, how: TaskState, reason: str, while_: Row | None = None) -> int:
    """End an open one, as long as the row `while_` has not moved; returns how many that were."""
    if task.state is not TaskState.OPEN:
        return 0
    branch = await env.store.get(Branch, task.id) if task.handed else None
    change = ending(call, task, branch, how, reason)
    return int(await attempt(env, change.check(while_) if while_ is not None else change))


async def close(env: Env, call: Call, task_id: str) -> int:
    """Everything an ended task leaves open: its leases are to end, what people agreed to is void, and what it handed on
    ends too, which can do nothing since then; returns how many tasks that were.
    """
    task = await env.store.get(Task, task_id)
    if task is None or task.state is TaskState.OPEN:
        return 0
    below = 0
    while children := await env.store.find(Task, {"parent": task_id, "state": TaskState.OPEN.value}):
        done = [await end_task(env, call, child, TaskState.REVOKED, f"{task_id} ended") for child in children]
        below += sum(done)
        for child in children:
            below += await close(env, call, child.id)
        if not any(done):
            break  # somebody moves them all the time: the next pass looks again
    for state in (LeaseState.RESERVED, LeaseState.LIVE):
        after = ""
        while leases := await env.store.find(Lease, {"task": task_id, "state": state.value}, after=after):
            await asyncio.gather(*(mark(env, call, lease, task.state.value, task.ended_at) for lease in leases))
            after = leases[-1].key
    for waiting in (ApprovalState.PENDING, ApprovalState.GRANTED):  # nobody is to be asked about what is over
        for approval in await env.store.find(Approval, {"task": task_id, "state": waiting.value}, limit=1000):
            await expire(env, call, approval)
    for standing in await env.store.find(StandingYes, {"task": task_id, "usable": "yes"}, limit=1000):
        because = events.StandingYesEnded(standing.id, task_id, "its task ended", standing.left)
        await attempt(env, Change(because, call).put(standing.ended(call.now, "its task ended"), was=standing))
    return below


async def mark(env: Env, call: Call, lease: Lease, reason: str, since: int = 0) -> Lease | None:
    """It must die; returns it as it is then."""
    after = lease.ending(call.now, reason, since)
    because = events.LeaseEnding(lease.id, lease.task, reason)
    await attempt(env, Change(because, call).put(after, was=lease))
    return await env.store.get(Lease, lease.id)
