"""Decide: may this task do this, now? The steps are numbered as in the design.

0 is the edge's: it authenticated the caller. Every refusal has its own stable reason code, and the
event is durable before the answer leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from remit.domain import events, facts
from remit.domain.above import Above
from remit.domain.approval import Approval, ApprovalState, Came, Shown
from remit.domain.caller import Call
from remit.domain.catalogue import CatalogueHead
from remit.domain.change import Change
from remit.domain.decision import Access, Decision, Deny, Facts, Hold, Permit, Reason, Requirement, Why, watched, word
from remit.domain.errors import Absent, BadField, Busy, Conflict
from remit.domain.flow import Label
from remit.domain.identity import Agent, Identity, Standing, StandingState, stale
from remit.domain.origin import NOTHING_TRACED, Observation, Provenance
from remit.domain.origin import word as word_of
from remit.domain.purpose import Profile
from remit.domain.scope import Attempt
from remit.domain.task import Task
from remit.domain.tool import Effect, Tool
from remit.formats import provenance
from remit.formats.jcs import canonical, digest
from remit.ports import Env, InForce

ROUNDS = 24


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything read for one decision, at one instant."""

    head: CatalogueHead
    force: InForce
    task: Task
    identity: Identity | None
    standing: Standing | None
    above: Above
    read: Sequence[Observation]
    digest: provenance.Digest


@dataclass(frozen=True, slots=True)
class Candidate:
    """An access that passed every step but the policy."""

    agent: Agent
    tool: Tool
    resource: str
    provenance: Provenance
    facts: Facts
    digest: str
    goal: str


async def decide(env: Env, call: Call, access: Access) -> Decision:
    """Return Permit, Hold or Deny, after the event that explains it is durable (law 4).

    Raises `Absent` for a task that is not there or not the caller's, `Busy` when compare-and-swap keeps
    losing to other calls of the same task, `StoreUnavailable` when nothing may leave.
    """
    for _ in range(ROUNDS):
        situation = await _read(env, call, access)
        judged = judge(situation, call, access)
        if isinstance(judged, Deny):
            await env.store.commit(Change(_decided(situation, access, judged, ""), call))
            return judged
        try:
            return await _conclude(env, call, access, situation, judged)
        except Conflict:
            continue
    raise Busy("Too many calls of this task at once.", next_step="Try again in a moment.")


async def _read(env: Env, call: Call, access: Access) -> Situation:
    task = await env.store.get(Task, access.task)
    if task is None or not task.acted_for_by(call.caller):
        raise Absent(inside=f"task {access.task} for {call.caller}")
    head, force = await env.in_force()
    identity = await env.store.get(Identity, task.jkt)
    standing = await env.store.get(Standing, task.agent)
    digest_ = provenance.digester(env.sealer.derive(task.memory))
    above = await env.above(task.chain.hops[:-1])
    return Situation(head, force, task, identity, standing, above, await env.read_by(task), digest_)


def judge(situation: Situation, call: Call, access: Access) -> Candidate | Deny:
    """Steps 1 to 4: pure, and no policy language yet."""
    task, catalogue = situation.task, situation.force.catalogue
    # 1. The agent, its identity, the task, the purpose.
    agent, purpose = catalogue.agents.get(task.agent), catalogue.purposes.get(task.purpose)
    if agent is None:
        return _deny(Reason.AGENT_UNKNOWN, f"{task.agent} is no longer registered.")
    if situation.standing is not None and situation.standing.state is StandingState.FROZEN:
        return _deny(Reason.AGENT_FROZEN, f"{agent.name} is frozen: {situation.standing.reason}")
    flaw = stale(situation.identity, agent, call.now, max_age=purpose.identity_max_age if purpose else 0)
    if flaw:
        return _deny(Reason.IDENTITY_STALE, flaw)
    if task.state.value != "open":
        return _deny(Reason.TASK_NOT_OPEN, f"The task is {task.state.value}; propose a new one.")
    if call.now >= task.deadline:
        return _deny(Reason.TASK_EXPIRED, "The task's time is over; propose a new one.")
    if purpose is None or purpose.revision != task.purpose_revision:
        return _deny(Reason.PURPOSE_SUPERSEDED, f"Purpose {task.purpose} has changed; propose the task again.")
    if task.left <= 0:
        return _deny(Reason.BUDGET_SPENT, f"All {task.max_calls} calls of this task are spent.")
    above = situation.above
    over = above.flaw(catalogue, call.now)
    if over is not None:
        return Deny((over,))
    # 3 comes before 2, because the scope needs the resource that the reviewed tool derives.
    tool = catalogue.tools.get(access.tool)
    if tool is None:
        return _deny(Reason.TOOL_UNKNOWN, f"Nobody has reviewed a tool {access.tool!r}.")
    if tool.pin and access.pin != tool.pin:
        return _deny(Reason.TOOL_CHANGED, f"{tool.name} is not as it was reviewed; it waits for another review.")
    problems = situation.force.schemas[tool.name].problems(access.arguments)
    if problems:
        return _deny(Reason.BAD_ARGUMENTS, "; ".join(f"{path}: {problem}" for path, problem in problems[:5]))
    try:
        resource = tool.resource_of(access.arguments)
    except BadField as problem:
        return _deny(Reason.BAD_ARGUMENTS, problem.message)
    # 4 comes before 2 as well: a scope may ask where a value came from.
    scope, judged = above.scope(task), above.judged(task)
    said = provenance.stated(judged.goal, tuple(judged.parameters.values()))
    names = (*tool.decisive(), *scope.sourced(tool.name))
    traced = provenance.trace(names, access.arguments, said, situation.read, situation.digest)
    # 2. The chain's effective scope.
    attempt = Attempt(
        tool.name, resource, access.arguments, tool.sensitivity, tool.environment, call.now, traced.arguments
    )
    outside = scope.outside(attempt)
    if outside:
        return _deny(Reason.OUT_OF_SCOPE, f"Outside this task: {outside}.")
    shown = {
        "tool": tool.name,
        "tool_revision": tool.revision,
        "arguments": access.arguments,
        "origins": {name: found.origin.word for name, found in traced.arguments.items()},
        "resource": resource,
        "task": task.id,
        "chain": [str(task.chain.initiator), *([hop.agent, hop.task] for hop in task.chain.hops)],
        "policy": situation.force.bundle.revision,
    }
    seen = above.strictest(catalogue, agent, purpose)
    asked = facts.of_call(*seen, judged, tool, resource, access.arguments, traced, call.now)
    goal = task.goal if judged is task else f"{judged.goal} → {task.agent} was told: {task.goal}"
    return Candidate(agent, tool, resource, traced, asked, digest(shown), goal)


async def _conclude(env: Env, call: Call, access: Access, situation: Situation, candidate: Candidate) -> Decision:
    # 5. Cedar; a second look inside tells Deny from Hold.
    verdict = situation.force.bundle.verdict(candidate.facts)
    approval: Approval | None = None
    if candidate.facts.context["profile"] == Profile.WATCH.value:
        verdict = watched(verdict)
    if isinstance(verdict, Hold):
        # 6. An unused approval for exactly this turns it into a permit and is consumed in the same commit.
        verdict, approval = await _with_approval(env, call, situation, candidate, verdict)
    used = approval.id if approval else ""
    change = Change(_decided(situation, access, verdict, candidate.digest, used, candidate.provenance), call)
    change = change.check(situation.head)
    standing = situation.standing
    change = change.check(standing) if standing else change.check_absent(Standing, candidate.agent.name)
    change = situation.above.guard(change)
    if isinstance(verdict, Permit):
        tool = candidate.tool
        changing = "" if tool.effect is Effect.READ else tool.name
        # 7. Budget and label, under compare-and-swap on the task: no permit after its end (law 6).
        change = change.put(situation.task.spent(tool.label(), changing), was=situation.task)
        change = situation.above.darken(change, tool.label(), changing)
        if approval is not None:
            change = change.put(approval.used(call.now), was=approval)
    elif approval is not None and approval.version == 0:
        change = change.check(situation.task).put(approval, was=None)
    await env.store.commit(change)
    return verdict


async def _with_approval(
    env: Env, call: Call, situation: Situation, candidate: Candidate, hold: Hold
) -> tuple[Decision, Approval | None]:
    asked = await env.store.find(Approval, {"access": candidate.digest}, limit=1000)
    for approval in asked:
        if approval.usable_at(call.now):
            # That this is held means that the second look permits it (see `policy.bundle`).
            who = " and ".join(a.person for a in approval.answers)
            return Permit((Why(Reason.APPROVED, f"{who} agreed."),), approval.id), approval
        if approval.state is ApprovalState.REFUSED:
            who = approval.answers[-1].person
            return Deny((Why(Reason.APPROVAL_REFUSED, f"{who} said no to exactly this."),)), None
        if approval.pending_at(call.now):
            return Hold(hold.why, approval.needs, approval.id), approval
    approval = _ask(situation, candidate, hold, len(asked), call.now)
    return Hold(hold.why, approval.needs, approval.id), approval


def _ask(situation: Situation, candidate: Candidate, hold: Hold, round_: int, now: int) -> Approval:
    task, agent, tool = situation.task, candidate.agent, candidate.tool
    needs = tuple(
        Requirement(tuple(agent.owner if name == "owner" else name for name in need.approvers), need.quorum)
        for need in hold.needs
    )
    purpose = situation.force.catalogue.purposes[task.purpose]
    binding = digest([candidate.digest, round_])
    shown = Shown(
        sentence=_sentence(task, tool, candidate.facts.arguments),
        tool=tool.name,
        arguments=canonical(candidate.facts.arguments).decode(),
        resource=candidate.resource,
        effect=tool.effect.word,
        goal=candidate.goal,
        why=tuple(why.sentence for why in hold.why),
        policies=tuple(why.policy for why in hold.why),
        controls=tuple(why.control for why in hold.why if why.control),
        origins=tuple(
            Came(name, found.origin.word, found.sources) for name, found in candidate.provenance.arguments.items()
        ),
    )
    return Approval(
        # Two callers that ask at once compute the same id, and one of them loses the compare-and-swap.
        id="apv_" + binding.removeprefix("sha256:")[:32],
        digest=binding,
        access=candidate.digest,
        round=round_,
        task=task.id,
        chain=task.chain,
        owner=agent.owner,
        shown=shown,
        needs=needs,
        asked_at=now,
        expires_at=min(now + purpose.approval_ttl, task.deadline),
    )


def _sentence(task: Task, tool: Tool, arguments: object) -> str:
    initiator = task.chain.initiator
    behalf = f", for {initiator.name}," if initiator.name != task.agent else ""
    through = ", then ".join(task.chain.agents()[:-1])
    behalf += f" handed this by {through}," if through else ""
    listed = ", ".join(f"{k}={v}" for k, v in arguments.items()) if isinstance(arguments, dict) else ""
    once = " This cannot be undone." if tool.effect is Effect.IRREVERSIBLE else ""
    return f"{task.agent}{behalf} asks: {tool.title or tool.name} ({listed}), once.{once}"


def _deny(reason: Reason, sentence: str) -> Deny:
    return Deny((Why(reason, sentence),))


def _decided(
    situation: Situation,
    access: Access,
    decision: Decision,
    access_digest: str,
    approval: str = "",
    traced: Provenance = NOTHING_TRACED,
) -> events.AccessDecided:
    task = situation.task
    label: Label = task.label | situation.above.label
    return events.AccessDecided(
        task=task.id,
        agent=task.agent,
        tool=access.tool[:128],
        access=access_digest or digest([access.task, access.tool, access.arguments]),
        decision=word(decision),
        reasons=tuple(why.reason.value for why in decision.why),
        policies=tuple(why.policy for why in decision.why if why.policy),
        controls=tuple(sorted({why.control for why in decision.why if why.control})),
        approval=approval,
        catalogue=situation.head.digest,
        trust=label.trust.word,
        sensitivity=label.sensitivity.word,
        origin=word_of(traced.worst),
        carries=word_of(traced.carried),
        chain=situation.above.tasks,
        calls=task.calls,
        repeats=situation.above.judged(task).uses.get(access.tool, 0),
    )
