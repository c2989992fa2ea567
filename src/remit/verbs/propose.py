"""Propose: an agent says what it has been asked to do, and gets a task no wider than the purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from remit.domain import events, facts
from remit.domain.above import Above, Delegation
from remit.domain.caller import Call
from remit.domain.chain import Chain, Hop, Principal, PrincipalKind
from remit.domain.change import Change
from remit.domain.decision import Decision, Hold, Permit, Reason, Why
from remit.domain.errors import Absent, BadField, Denied, NotAttested, Replayed
from remit.domain.flow import Json
from remit.domain.identity import Agent, Identity, stale
from remit.domain.purpose import Purpose
from remit.domain.task import Task
from remit.formats.jcs import digest
from remit.ports import Env, InForce

GOAL_LIMIT = 4096


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
) -> Task:
    """Open a task. `initiator` is the person a verified subject token named; None is the agent's own goal.

    `delegation` is what a verified delegation token hands to this agent: the proposal is then exactly that, or asks for
    less time or fewer calls. It opens one task, whose id it names: a second one raises `Replayed`.

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
    identity = await env.store.get(Identity, call.caller.jkt)

    above, chain = await _chain(env, agent.name, initiator, delegation)
    task_id, begun_by = chain.hops[-1].task, chain.initiator
    over = above.flaw(force.catalogue, call.now)
    if over is not None:
        await _deny(env, call, purpose, [over], ())
    refusals = _refusals(force, agent, purpose, identity, above, begun_by, call.now)
    seen = above.strictest(force.catalogue, agent, purpose)
    verdict = force.bundle.verdict(facts.of_proposal(*seen, chain, above.label, call.now))
    policies = tuple(why.policy for why in verdict.why if why.policy)
    if refusals or not isinstance(verdict, Permit):
        await _deny(env, call, purpose, refusals or _as_refusals(verdict), policies)

    deadline = call.now + min(proposal.duration or purpose.max_duration, purpose.max_duration)
    deadline = min((deadline, *(link.task.deadline for link in above.links)))
    task = Task(
        id=task_id,
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
    because = events.TaskProposed(
        task.id,
        agent.name,
        purpose.name,
        purpose.revision,
        str(begun_by),
        digest([task.id, task.goal]),
        digest([task.id, parameters]),
        deadline,
        head.digest,
        policies,
        above.tasks,
    )
    await env.store.commit(above.guard(Change(because, call).put(task, was=None).check(head)))
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
    env: Env, agent: str, initiator: Principal | None, delegation: Delegation | None
) -> tuple[Above, Chain]:
    if delegation is None:
        begun_by = initiator or Principal(PrincipalKind.AGENT, agent)
        return await env.above(()), Chain(begun_by, (Hop(agent, env.new_id("tsk")),))
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


def _refusals(
    force: InForce,
    agent: Agent,
    purpose: Purpose,
    identity: Identity | None,
    above: Above,
    begun_by: Principal,
    now: int,
) -> list[Why]:
    if identity is None or identity.agent != agent.name:
        raise NotAttested("This key proves no agent.", next_step="Attest again.")
    found: list[Why] = []
    frost = above.frost(agent, purpose)
    if frost is not None:
        found.append(frost)
    flaw = stale(identity, agent, now, max_age=purpose.identity_max_age, kinds=purpose.attested_by)
    if flaw:
        found.append(Why(Reason.IDENTITY_STALE, flaw))
    if purpose.initiators and not _may_begin(force, purpose, begun_by):
        asked = ", ".join(purpose.initiators)
        found.append(Why(Reason.OUT_OF_SCOPE, f"Only {asked} may begin {purpose.name}."))
    return found


def _may_begin(force: InForce, purpose: Purpose, begun_by: Principal) -> bool:
    person = force.catalogue.people.get(begun_by.name)
    if begun_by.kind is not PrincipalKind.PERSON or person is None:
        return False
    return person.name in purpose.initiators or bool(set(person.groups) & set(purpose.initiators))


def _as_refusals(verdict: Decision) -> list[Why]:
    whys = list(verdict.why)
    if isinstance(verdict, Hold):
        whys.append(Why(Reason.NEEDS_APPROVAL, "A proposal cannot wait for a person; its actions can."))
    return whys


async def _deny(env: Env, call: Call, purpose: Purpose, whys: list[Why], policies: tuple[str, ...]) -> NoReturn:
    reasons = tuple(why.reason.value for why in whys)
    because = events.ProposalDenied(call.caller.name, purpose.name, reasons, policies)
    await env.store.commit(Change(because, call))
    raise Denied(" ".join(why.sentence for why in whys), reasons=reasons)
