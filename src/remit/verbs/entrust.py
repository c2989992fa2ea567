"""Entrust: an edge decides a task's calls from here on. Recall it, and give it back. See docs/estate.md."""

from __future__ import annotations

from remit.domain import events
from remit.domain.approval import Approval, ApprovalState
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, Busy, Conflict, NotEntrusted, StoreUnavailable, WrongState
from remit.domain.estate import EdgeLog
from remit.domain.freeze import Frozen
from remit.domain.identity import Identity
from remit.domain.standing_yes import StandingYes
from remit.domain.task import Task
from remit.ports import Entrusted, Env, InForce

ROUNDS = 24
MOST_READ = 4 * 1024 * 1024  # bytes of digests that go with a task


async def entrust(env: Env, call: Call, task_id: str, seat: str) -> Entrusted:
    """Hand this task to the edge that calls; the same again while it holds it, also when it is being called home.

    `NotEntrusted` for a task that needs the centre, `Absent` for one that this edge may not be given, `SeatLost`. From
    the commit on nothing is decided for it here. Whoever recalled or ended it meanwhile is told to the edge as always.
    """
    edge = call.caller.name
    for _ in range(ROUNDS):
        seated = await env.seated(edge, seat)
        task = await env.store.get(Task, task_id)
        head, force = await env.in_force()
        if task is None or edge not in force.catalogue.edges or not force.catalogue.edges[edge].takes(task.purpose):
            raise Absent(inside=f"task {task_id[:64]} for edge {edge}")
        identity, frozen = await env.store.get(Identity, task.jkt), await env.frozen()
        there, posture = await env.revision(head.at(edge)), await env.posture(task.agent)
        again = (task.home, task.seat) == (edge, seat) and task.open_at(call.now)
        flaw = "" if again else await _flaw(env, call, task, there, frozen)
        if posture.facts and not again:
            flaw = "It is judged by what is known of its agent."
        if flaw or identity is None:
            raise NotEntrusted(flaw or "Nobody can act for it.", next_step="Its calls are decided at the centre.")
        read = await env.read_by(task)
        if sum(len(row.trusted) + len(row.untrusted) for row in read) > MOST_READ:
            raise NotEntrusted("It has read too much.", next_step="Its calls are decided at the centre.")
        if again:
            return Entrusted(task, identity, read)
        given = task.entrusted(edge, seat)
        change = Change(events.TaskEntrusted(task.id, task.agent, edge, seat), call).put(given, was=task)
        try:
            await env.store.commit(change.check(seated).check(head).check(frozen).check(posture))
        except Conflict:
            continue
        return Entrusted(given, identity, read)
    raise Busy("Too many calls of this task at once.", next_step="Try again in a moment.")


async def _flaw(env: Env, call: Call, task: Task, force: InForce, frozen: Frozen) -> str:
    """Why its calls are better decided here, if so; `force` is the revision in force at that edge."""
    agent, purpose = force.catalogue.agents.get(task.agent), force.catalogue.purposes.get(task.purpose)
    if task.home or not task.open_at(call.now):
        return "It is over, or elsewhere."
    if task.parent or task.handed:
        return "It is part of a hand-off."
    if agent is None or purpose is None or purpose.revision != task.purpose_revision or frozen.of(agent, purpose):
        return "It may do nothing any more."
    if task.agent in frozen.narrowed:
        return "Something of what it may do was taken away from its agent."
    for state in (ApprovalState.PENDING, ApprovalState.GRANTED):
        if await env.store.find(Approval, {"task": task.id, "state": state.value}, limit=1):
            return "Somebody was asked about it."
    if await env.store.find(StandingYes, {"task": task.id, "usable": "yes"}, limit=1):
        return "Somebody agreed to calls of it."
    return ""


async def recall(env: Env, call: Call, task_id: str, reason: str) -> Task:
    """Tell its edge to report and return it; returns the task as it is then. Recalling twice, or from home, is fine."""
    for _ in range(ROUNDS):
        task = await env.store.get(Task, task_id)
        if task is None or not task.acted_for_by(call.caller):
            raise Absent(inside=f"task {task_id[:64]} for {call.caller}")
        if not task.home or task.recalled_at:
            return task
        because = events.TaskRecalled(task.id, task.agent, task.home, reason[:200])
        called = task.recalled(call.now)
        try:
            await env.store.commit(Change(because, call).put(called, was=task))
        except Conflict:
            continue
        return called
    raise Busy("Too many calls of this task at once.", next_step="Try again in a moment.")


async def give_back(env: Env, call: Call, task_id: str, seat: str, through: int) -> None:
    """The centre decides its calls again. Twice is fine, and so is a task that is elsewhere by now.

    `WrongState` unless that edge's log is taken in exactly up to `through`: with less, something that it decided is not
    known here; with more, this question is an old one, and it may have been entrusted with the task again since.
    """
    edge = call.caller.name
    for _ in range(ROUNDS):
        seated = await env.seated(edge, seat)
        task, log = await env.store.get(Task, task_id), await env.store.get(EdgeLog, f"{edge}/{seat}")
        mine = task is not None and (task.home, task.seat) == (edge, seat)
        if task is None or not (mine or task.acted_for_by(call.caller)):
            raise Absent(inside=f"task {task_id[:64]} for {call.caller}")
        if log is None:
            raise StoreUnavailable("How far this edge's log is taken in cannot be read.", inside=edge)
        if not mine:
            return
        if log.received != through:
            step = "Report what happened there, and return it then."
            raise WrongState(f"This edge's log is taken in up to {log.received}, not {through}.", next_step=step)
        because = events.TaskReturned(task.id, task.agent, edge, log.received)
        try:
            await env.store.commit(Change(because, call).put(task.returned(), was=task).check(seated))
        except Conflict:
            continue
        return
    raise Busy("This task keeps changing.", next_step="Try again in a moment.")
