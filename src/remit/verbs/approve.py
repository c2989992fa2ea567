"""Approve: a person's yes or no to exactly what was shown (law 7)."""

from __future__ import annotations

from remit.domain import events
from remit.domain.approval import Approval
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, WrongState
from remit.domain.task import Task
from remit.ports import Env

NOTE_LIMIT = 2000


async def answer(env: Env, call: Call, approval_id: str, digest: str, *, yes: bool, note: str = "") -> Approval:
    """Add this person's answer. `digest` must be the one that was shown; anything else is void."""
    if len(note) > NOTE_LIMIT:
        raise BadField("note", f"longer than {NOTE_LIMIT} characters")
    _, force = await env.in_force()
    person = force.catalogue.people.get(call.caller.name)
    approval = await env.store.get(Approval, approval_id)
    if approval is None or person is None:
        raise Absent(inside=f"approval {approval_id} or person {call.caller.name}")
    if digest != approval.digest:
        raise BadField(
            "digest",
            "is not of what this approval shows",
            next_step="Read the approval again before you answer.",
        )
    task = await env.store.get(Task, approval.task)
    if task is None or not task.open_at(call.now):
        raise WrongState("The task has ended, so there is nothing left to approve.")
    above = await env.above(task.chain.hops[:-1])
    if above.flaw(force.catalogue, call.now) is not None:
        raise WrongState("A task above this one has ended, so there is nothing left to approve.")
    answered = approval.answered(person.name, person.groups, yes, call.now, note)
    because = events.ApprovalAnswered(
        approval.id, approval.task, approval.digest, person.name, yes, answered.state.value
    )
    await env.store.commit(above.guard(Change(because, call).put(answered, was=approval).check(task)))
    return answered
