"""Propose: an agent says what it has been asked to do, and gets a task no wider than the purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from remit.domain import events, facts
from remit.domain.caller import Call
from remit.domain.chain import Chain, Hop, Principal, PrincipalKind
from remit.domain.change import Change
from remit.domain.decision import Decision, Hold, Permit, Reason, Why
from remit.domain.errors import Absent, BadField, Denied, NotAttested
from remit.domain.flow import Json
from remit.domain.identity import Agent, Identity, Standing, StandingState, stale
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


async def propose(env: Env, call: Call, proposal: Proposal, initiator: Principal | None = None) -> Task:
    """Open a task. `initiator` is the person a verified subject token named; None is the agent's own goal.

    A purpose that does not exist and one that is not this agent's are the same answer (law 11).
    """
    head, force = await env.in_force()
    agent = force.catalogue.agents.get(call.caller.name)
    purpose = force.catalogue.purposes.get(proposal.purpose)
    if agent is None or purpose is None or agent.name not in purpose.agents:
        raise Absent(inside=f"agent {call.caller.name}, purpose {proposal.purpose}")
    parameters = _checked(purpose, proposal)
    identity = await env.store.get(Identity, call.caller.jkt)
    standing = await env.store.get(Standing, agent.name)

    begun_by = initiator or Principal(PrincipalKind.AGENT, agent.name)
    task_id = env.new_id("tsk")
    chain = Chain(begun_by, (Hop(agent.name, task_id),))
    refusals = _refusals(force, agent, purpose, identity, standing, begun_by, call.now)
    verdict = force.bundle.verdict(facts.of_proposal(agent, purpose, chain, call.now))
    policies = tuple(why.policy for why in verdict.why if why.policy)
    if refusals or not isinstance(verdict, Permit):
        await _deny(env, call, purpose, refusals or _as_refusals(verdict), policies)

    deadline = call.now + min(proposal.duration or purpose.max_duration, purpose.max_duration)
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
    )
    change = Change(because, call).put(task, was=None).check(head)
    change = change.check(standing) if standing else change.check_absent(Standing, agent.name)
    await env.store.commit(change)
    return task


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
    standing: Standing | None,
    begun_by: Principal,
    now: int,
) -> list[Why]:
    if identity is None or identity.agent != agent.name:
        raise NotAttested("This key proves no agent.", next_step="Attest again.")
    found: list[Why] = []
    if standing is not None and standing.state is StandingState.FROZEN:
        found.append(Why(Reason.AGENT_FROZEN, f"{agent.name} is frozen: {standing.reason}"))
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


async def _deny(env: Env, call: Call, purpose: Purpose, whys: list[Why], policies: tuple[str, ...]) -> None:
    reasons = tuple(why.reason.value for why in whys)
    because = events.ProposalDenied(call.caller.name, purpose.name, reasons, policies)
    await env.store.commit(Change(because, call))
    raise Denied(" ".join(why.sentence for why in whys), reasons=reasons)
