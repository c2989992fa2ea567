"""Decide open tasks again when what they were permitted in has changed, and end those not permitted today.

A page of each change in every pass; how far it got is written down, so a crash, or another replica, goes on from there.
Every task is judged under what is in force when it is looked at, and ended only while that still is: a catalogue that
is applied meanwhile is the next one to be judged under, and has its own pass. What ends is settled by `end_leases`.
"""

from __future__ import annotations

import asyncio

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.context import Context
from remit.domain.errors import Busy
from remit.domain.lease import LeaseState
from remit.domain.posture import Posture
from remit.domain.redecision import Redecision
from remit.domain.task import Task, TaskState
from remit.policy import judge
from remit.ports import Env, InForce
from remit.verbs.issue import judge as judge_credential

from .end_tasks import close, end_task, mark
from .kill_leases import attempt

SYSTEM = Caller(CallerKind.SYSTEM, "redecide")
PAGE = 1000
AT_ONCE = 64
ROUNDS = 24


async def redecide(env: Env, now: int) -> int:
    """Look at one more page of every change that has not reached everything; returns how many there were."""
    await _lapse(env, Call(SYSTEM, now))
    rows = await env.store.due(Redecision, now)
    for row in rows:
        if await _page(env, Call(SYSTEM, now), row):
            env.nudge()
    return len(rows)


async def _lapse(env: Env, call: Call) -> None:
    """What is known of an agent for a time is known no more when that is over."""
    for row in await env.store.due(Posture, call.now):
        after = row.lapsed(call.now)
        gone = tuple(sorted(fact.text for fact in row.facts if fact not in after.facts))
        again = Redecision(env.new_id("rdc"), f"posture of {row.agent} lapsed", call.now, (("agent", row.agent),), {})
        change = Change(events.PostureLapsed(row.agent, gone), call).put(after, was=row)
        await attempt(env, change.put(again, was=None))


async def _page(env: Env, call: Call, row: Redecision) -> int:
    column, value = row.places[row.place]
    where = {"state": TaskState.OPEN.value, column: value}
    page = await env.store.find(Task, where, after=row.after, limit=PAGE)
    ended = 0
    for start in range(0, len(page), AT_ONCE):  # so that their commits share a write
        some = page[start : start + AT_ONCE]
        ended += sum(await asyncio.gather(*(_look(env, call, row, task) for task in some)))
    now = env.clock()
    after = row.went_on(page[-1].key if len(page) == PAGE else "", len(page), ended, now)
    because: events.Event = events.TasksRedecided(row.id, row.cause, len(page), ended)
    if after.reached_at:
        because = events.RedecisionReached(row.id, row.cause, after.seen, after.ended, now - row.since)
    await attempt(env, Change(because, call).put(after, was=row))
    return ended


async def _look(env: Env, call: Call, row: Redecision, task: Task) -> int:
    found: Task | None = task
    for _ in range(ROUNDS):
        if found is None or found.state is not TaskState.OPEN:
            return 0
        head, force = await env.in_force()
        context = (await env.context(found)).proved(call.now)
        opening = judge(force.catalogue, force.bundle, found, context, call.now)
        if not opening.why:
            await _leases(env, call, row, force, found, context)
            if found.home and not found.recalled_at and context.posture.facts:  # edges know of no posture
                because = events.TaskRecalled(found.id, found.agent, found.home, row.cause)
                await attempt(env, Change(because, call).put(found.recalled(call.now), was=found))
            return 0
        if await end_task(env, call, found, TaskState.REVOKED, row.reason(found, opening.why), head):
            return 1 + await close(env, call, found.id)
        found = await env.store.get(Task, task.id)
    raise Busy("A task that is to be decided again moves all the time.", inside=task.id)


async def _leases(env: Env, call: Call, row: Redecision, force: InForce, task: Task, context: Context) -> None:
    """End the credentials of a task that goes on, which it would not be issued today.

    Its purpose is the revision it began under, so what a credential is for is the same; a policy may say otherwise.
    """
    for state in (LeaseState.RESERVED, LeaseState.LIVE):
        for lease in await env.leases_in(state, task.id):
            _, why, _ = judge_credential(
                force, task, context.above, context.identity, context.posture, lease.credential, call
            )
            if why:
                await mark(env, call, lease, row.reason(task, tuple(why)))
