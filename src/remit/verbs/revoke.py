"""Revoke: end a task, or a credential. One commit; what hangs below dies by reconciliation (laws 5 and 6)."""

from __future__ import annotations

from remit.domain import events
from remit.domain.above import Branch, ending
from remit.domain.caller import Call, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, Busy, Conflict
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.ports import Env

ROUNDS = 64


async def end_task(env: Env, call: Call, task_id: str, reason: str) -> Task:
    """Close (its own agent) or revoke (anybody else) a task. Ending what has ended returns it unchanged.

    When this returns the end is durable and no permit is committed after it (law 6), here or anywhere below: what
    was handed on checks the task's branch in its own commit.
    """
    for _ in range(ROUNDS):
        task = await env.store.get(Task, task_id)
        if task is None or not await _may_end(env, call, task):
            raise Absent(inside=f"task {task_id} for {call.caller}")
        if task.state is not TaskState.OPEN:
            return task
        how = TaskState.CLOSED if call.caller.kind is CallerKind.AGENT else TaskState.REVOKED
        branch = await env.store.get(Branch, task.id) if task.handed else None
        try:
            await env.store.commit(ending(call, task, branch, how, reason[:500]))
        except Conflict:
            continue
        env.nudge()
        return task.ended(how, call.now, reason[:500])
    raise Busy("The task is very busy; it was not ended.", next_step="Try again at once.")


async def end_lease(env: Env, call: Call, lease_id: str, reason: str) -> Lease:
    """End one credential before its task ends: whoever may end the task may. Ending it twice is fine."""
    for _ in range(ROUNDS):
        lease = await env.store.get(Lease, lease_id)
        task = await env.store.get(Task, lease.task) if lease else None
        if lease is None or task is None or not await _may_end(env, call, task):
            raise Absent(inside=f"lease {lease_id} for {call.caller}")
        if lease.state not in (LeaseState.RESERVED, LeaseState.LIVE):
            return lease
        because = events.LeaseEnding(lease.id, lease.task, reason[:500])
        after = lease.ending(call.now, reason[:500])
        try:
            await env.store.commit(Change(because, call).put(after, was=lease))
        except Conflict:
            continue
        env.nudge()
        return after
    raise Busy("The lease keeps changing.", next_step="Try again at once.")


async def _may_end(env: Env, call: Call, task: Task) -> bool:
    """Its own agent; its initiator, the agent's owner and the purpose's; operators, and Remit itself."""
    match call.caller.kind:
        case CallerKind.AGENT:
            return task.held_by(call.caller)
        case CallerKind.PERSON:
            return await _answers_for(env, call, task)
    return call.caller.kind in (CallerKind.OPERATOR, CallerKind.SYSTEM)


async def _answers_for(env: Env, call: Call, task: Task) -> bool:
    _, force = await env.in_force()
    agent, purpose = force.catalogue.agents.get(task.agent), force.catalogue.purposes.get(task.purpose)
    owners = {task.initiator.name, agent.owner if agent else "", purpose.owner if purpose else ""}
    return call.caller.name in owners
