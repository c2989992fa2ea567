"""Propose: an agent says what it has been asked to do, and gets a task no wider than the purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from remit.domain import events
from remit.domain.above import Above, Delegation
from remit.domain.caller import Call
from remit.domain.chain import Chain, Hop, Principal, PrincipalKind
from remit.domain.change import Change
from remit.domain.decision import Reason
from remit.domain.errors import Absent, BadField, Denied, NotAttested, Replayed
from remit.domain.flow import Json
from remit.domain.purpose import Purpose
from remit.domain.task import GOAL_LIMIT, Task
from remit.formats.jcs import digest
from remit.policy import Opening, judge
from remit.ports import Env


@dataclass(frozen=True, slots=True)
class Proposal:
    """`duration` (ms) and `max_calls` may ask for less than the purpose allows; 0 asks for all of it."""

    purpose: str
    goal: str
    parameters: Mapping[str, Json] = field(default_factory=dict)
    duration: int = 0
    max_calls: int = 0


async def propose(
    env: Env,
    call: Call,
    proposal: Proposal,
    initiator: Principal | None = None,
    delegation: Delegation | None = None,
    task_id: str = "",
) -> Task:
    """Open a task. `initiator` is the person a verified subject token named; None is the agent's own goal.

    `delegation` is what a verified delegation token hands to this agent: the proposal is then exactly that, or asks for
    less time or fewer calls. It opens one task, whose id it names: a second one raises `Replayed`. `task_id` is the id
    of a task that was named before it is opened; empty for a fresh one.

    A purpose that does not exist and one that is not this agent's are the same answer (law 11).
    """
    if delegation is not None:
        proposal = _handed(call, proposal, delegation)
    head, force = await env.in_force()
    agent = force.catalogue.agents.get(call.caller.name)
    purpose = force.catalogue.purposes.get(proposal.purpose)
    if agent is None or purpose is None or agent.name not in purpose.agents:
        raise Absent(inside=f"agent {call.caller.name}, purpose {proposal.purpose}")
    parameters = _checked(purpose, proposal)
    above, chain = await _chain(env, agent.name, initiator, delegation, task_id)
    until = purpose.until(call.now)
    deadline = min(
        (until, call.now + (proposal.duration or purpose.max_duration), *(link.task.deadline for link in above.links))
    )
    task = Task(
        id=chain.hops[-1].task,
        purpose=purpose.name,
        purpose_revision=purpose.revision,
        agent=agent.name,
        jkt=call.caller.jkt,
        goal=proposal.goal,
        parameters=parameters,
        chain=chain,
        scope=purpose.scope(parameters, deadline),
        opened_at=call.now,
        deadline=deadline,
        max_calls=min(proposal.max_calls or purpose.max_calls, purpose.max_calls),
        label=above.label,
        parent=above.tasks[-1] if above.links else "",
    )
    context = await env.context(task, above)
    if context.identity is None or context.identity.agent != agent.name:
        raise NotAttested("This key proves no agent.", next_step="Attest again.")
    opening = judge(force.catalogue, force.bundle, task, context, call.now)
    if opening.why:
        await _deny(env, call, purpose, opening)
    because = events.TaskProposed(
        task.id,
        agent.name,
        purpose.name,
        purpose.revision,
        str(task.initiator),
        digest([task.id, task.goal]),
        digest([task.id, parameters]),
        deadline,
        head.digest,
        opening.policies,
        above.tasks,
    )
    await env.store.commit(context.guard(Change(because, call).put(task, was=None).check(head)))
    return task


def _handed(call: Call, proposal: Proposal, delegation: Delegation) -> Proposal:
    """What was handed over; what the receiver says beside it may only ask for less."""
    if delegation.agent != call.caller.name or delegation.jkt not in ("", call.caller.jkt):
        raise Absent(inside=f"delegation {delegation.task} of {delegation.agent} used by {call.caller}")
    if call.now >= delegation.expires_at:
        raise Denied("The delegation has expired.", reasons=(Reason.TASK_EXPIRED.value,))
    if proposal.purpose not in ("", delegation.purpose) or proposal.goal not in ("", delegation.goal):
        raise BadField("purpose", "and goal are what was handed over, or are left out")
    if proposal.parameters and proposal.parameters != delegation.parameters:
        raise BadField("parameters", "are what was handed over, or are left out")
    return Proposal(
        delegation.purpose,
        delegation.goal,
        delegation.parameters,
        min(proposal.duration or delegation.duration, delegation.duration),
        min(proposal.max_calls or delegation.max_calls, delegation.max_calls),
    )


async def _chain(
    env: Env, agent: str, initiator: Principal | None, delegation: Delegation | None, task_id: str
) -> tuple[Above, Chain]:
    if delegation is None:
        begun_by = initiator or Principal(PrincipalKind.AGENT, agent)
        return await env.above(()), Chain(begun_by, (Hop(agent, task_id or env.new_id("tsk")),))
    parent = await env.store.get(Task, delegation.parent)
    if parent is None:
        raise Absent(inside=f"task {delegation.parent} of a delegation")
    if await env.store.get(Task, delegation.task) is not None:
        raise Replayed("The delegation was used before.", next_step="Ask for another.")
    return await env.above(parent.chain.hops), parent.chain.then(Hop(agent, delegation.task))


def _checked(purpose: Purpose, proposal: Proposal) -> dict[str, str]:
    if not 0 < len(proposal.goal) <= GOAL_LIMIT:
        raise BadField("goal", f"say in 1 to {GOAL_LIMIT} characters what was asked")
    if proposal.duration < 0 or proposal.max_calls < 0:
        raise BadField("duration", "may not be negative")
    return purpose.checked_parameters(proposal.parameters)


async def _deny(env: Env, call: Call, purpose: Purpose, opening: Opening) -> NoReturn:
    reasons = tuple(why.reason.value for why in opening.why)
    because = events.ProposalDenied(call.caller.name, purpose.name, reasons, opening.policies)
    await env.store.commit(Change(because, call))
    raise Denied(" ".join(why.sentence for why in opening.why), reasons=reasons)
