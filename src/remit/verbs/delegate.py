"""Delegate: an agent hands part of its task to another agent, and can never hand on more than it has (law 2).

What is handed over is fixed here, and its calls are taken from the giver here, in one commit: however wide a task fans
out, all of it together makes no more calls than the first was given. The receiver opens it with `propose`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from remit.domain import events
from remit.domain.above import Above, Branch, Delegation
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.decision import Reason, Why
from remit.domain.errors import Absent, BadField, Busy, Conflict, Denied
from remit.domain.flow import Json
from remit.domain.identity import Identity, stale
from remit.domain.posture import Posture
from remit.domain.task import GOAL_LIMIT, Task
from remit.formats import rfc8693
from remit.formats.jcs import digest
from remit.ports import Env, InForce

DELEGATION_TTL = 300_000
ROUNDS = 24


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be handed over; `duration` (ms) and `max_calls` 0 ask for as much as may be handed on. `jkt`, unless
    empty, is the key that the giver believes to be the receiver's: it must be, and nobody else can open it.
    """

    agent: str
    purpose: str
    goal: str
    parameters: Mapping[str, Json] = field(default_factory=dict)
    duration: int = 0
    max_calls: int = 0
    jkt: str = ""


async def delegate(env: Env, call: Call, task_id: str, part: Part) -> tuple[str, Delegation]:
    """Return a delegation token, good once, for `part.agent` alone, after the event that explains it is durable.

    Raises `Absent` for a task that is not the caller's own, `BadField` for what the child's purpose does not take,
    `Denied` with its reason.
    """
    if not 0 < len(part.goal) <= GOAL_LIMIT:
        raise BadField("goal", f"say in 1 to {GOAL_LIMIT} characters what is handed over")
    if part.duration < 0 or part.max_calls < 0:
        raise BadField("duration_ms", "and max_calls may not be negative")
    for _ in range(ROUNDS):
        task = await env.store.get(Task, task_id)
        if task is None or not task.held_by(call.caller):
            raise Absent(inside=f"task {task_id} for {call.caller}")
        task.must_be_at(env.place)
        head, force = await env.in_force()
        above = await env.above_of(task)
        identity = await env.store.get(Identity, task.jkt)
        posture = await env.posture(task.agent)
        why = _own_flaw(force, task, above, identity, posture, call.now) or above.flaw(force.catalogue, call.now)
        why = why or _refusal(force, task, above, part)
        if part.jkt and not why:
            receiver = force.catalogue.agents[part.agent]
            flaw = stale(await env.store.get(Identity, part.jkt), receiver, call.now)
            why = Why(Reason.NOT_ITS_KEY, f"This is no key that {receiver.name} has proved.") if flaw else None
        found = why or _handed(env, force, task, above, part, call.now)
        if isinstance(found, Why):
            because = events.DelegationDenied(
                task.id, task.agent, part.agent[:64], part.purpose[:64], (found.reason.value,)
            )
            await env.store.commit(Change(because, call))
            raise Denied(found.sentence, reasons=(found.reason.value,))
        change = Change(_delegated(task, above, found), call).check(head).check(posture)
        change = change.put(task.hands_on(found.max_calls), was=task)
        if not task.handed:
            change = change.put(Branch(task.id), was=None)
        try:
            await env.store.commit(above.guard(change))
        except Conflict:
            continue
        return env.signed(rfc8693.delegation_token(found, task.chain, env.issuer_url, call.now)), found
    raise Busy("Too many calls of this task at once.", next_step="Try again in a moment.")


def _own_flaw(
    force: InForce, task: Task, above: Above, identity: Identity | None, posture: Posture, now: int
) -> Why | None:
    """Whoever could not act itself hands nothing on."""
    agent, purpose = force.catalogue.agents.get(task.agent), force.catalogue.purposes.get(task.purpose)
    if agent is None:
        return Why(Reason.AGENT_UNKNOWN, f"{task.agent} is no longer registered.")
    frost = above.frost(agent, purpose)
    if frost is not None:
        return frost
    flaw = stale(identity, agent, now, max_age=purpose.identity_max_age if purpose else 0)
    if flaw:
        return Why(Reason.IDENTITY_STALE, flaw)
    if not task.open_at(now):
        return Why(Reason.TASK_NOT_OPEN, "The task is over; propose a new one.")
    if purpose is None or purpose.revision != task.purpose_revision:
        return Why(Reason.PURPOSE_SUPERSEDED, f"Purpose {task.purpose} has changed; propose the task again.")
    unmet = posture.unmet(purpose.needs, now)
    return Why(Reason.POSTURE_UNMET, unmet) if unmet else None


def _refusal(force: InForce, task: Task, above: Above, part: Part) -> Why | None:
    """Whether it may be handed to this agent for this purpose at all; what is not there is what may not be (law 11)."""
    purposes = force.catalogue.purposes
    rule = purposes[task.purpose].delegation(part.agent, part.purpose)
    child = purposes.get(part.purpose)
    if rule is None or child is None or part.agent not in child.agents or part.agent == task.agent:
        sentence = f"A task of {task.purpose} may not be handed to {part.agent[:64]} for {part.purpose[:64]}."
        return Why(Reason.NOT_DELEGABLE, sentence)
    if part.agent in task.chain.agents() and not rule.again:
        return Why(Reason.DELEGATION_LOOP, f"{part.agent} already acts in this chain.")
    depth = len(task.chain.hops)
    for place, name in enumerate((*(link.task.purpose for link in above.links), task.purpose)):
        if depth - place > purposes[name].max_depth:
            return Why(Reason.TOO_DEEP, f"A task of {name} may be handed on {purposes[name].max_depth} times.")
    if task.handed >= rule.fan_out:
        return Why(Reason.FAN_OUT_SPENT, f"This task was handed on {task.handed} times already.")
    if task.left <= 0 or part.max_calls > task.left:
        return Why(Reason.BUDGET_SPENT, f"This task has {max(0, task.left)} calls left to make or hand on.")
    return None


def _handed(env: Env, force: InForce, task: Task, above: Above, part: Part, now: int) -> Delegation | Why:
    child = force.catalogue.purposes[part.purpose]
    rule = force.catalogue.purposes[task.purpose].delegation(part.agent, part.purpose)
    parameters = child.checked_parameters(part.parameters)
    most = min(filter(None, (rule.max_calls if rule else 0, child.max_calls, part.max_calls, task.left)))
    longest = min(filter(None, (rule.max_duration if rule else 0, child.max_duration, part.duration)))
    if not (above.scope(task) & child.scope(parameters, task.deadline)).grants:
        return Why(Reason.OUT_OF_SCOPE, f"Nothing of {child.name} with these parameters is within this task.")
    return Delegation(
        parent=task.id,
        task=env.new_id("tsk"),
        agent=part.agent,
        purpose=child.name,
        goal=part.goal,
        parameters=parameters,
        duration=min(longest, task.deadline - now),
        max_calls=most,
        expires_at=min(now + DELEGATION_TTL, task.deadline),
        jkt=part.jkt,
    )


def _delegated(task: Task, above: Above, found: Delegation) -> events.TaskDelegated:
    return events.TaskDelegated(
        task.id,
        task.agent,
        found.agent,
        found.task,
        found.purpose,
        digest([found.task, found.goal]),
        digest([found.task, dict(found.parameters)]),
        found.max_calls,
        found.expires_at,
        above.tasks,
    )
