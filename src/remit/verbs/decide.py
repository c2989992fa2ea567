"""Decide: may this task do this, now? The steps are numbered as in the design.

0 is the edge's: it authenticated the caller. Every refusal has its own stable reason code, and the
event is durable before the answer leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from remit.domain import events, facts
from remit.domain.above import Above
from remit.domain.approval import Approval, ApprovalState
from remit.domain.ask import Candidate, ask
from remit.domain.caller import Call
from remit.domain.catalogue import CatalogueHead
from remit.domain.change import Change
from remit.domain.decision import Access, Decision, Deny, Hold, Permit, Reason, Why, watched, word
from remit.domain.departure import Departure
from remit.domain.errors import Absent, BadField, Busy, Conflict, NotHome
from remit.domain.flow import Label
from remit.domain.identity import Identity, stale
from remit.domain.notice import notice
from remit.domain.origin import NOTHING_TRACED, Observation
from remit.domain.origin import word as word_of
from remit.domain.posture import Posture
from remit.domain.purpose import Profile
from remit.domain.scope import Attempt
from remit.domain.standing_yes import StandingYes
from remit.domain.task import Task
from remit.domain.tool import Effect, Tool
from remit.formats import provenance
from remit.formats.jcs import canonical, digest, digest_of
from remit.formats.log_words import resource_word
from remit.ports import Env, InForce

ROUNDS = 24
NOBODYS = Departure("")


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything read for one decision, at one instant."""

    head: CatalogueHead
    force: InForce
    task: Task
    identity: Identity | None
    above: Above
    read: Sequence[Observation]
    digest: provenance.Digest
    posture: Posture
    place: str = ""
    age: int = 0
    departure: Departure = NOBODYS


async def decide(env: Env, call: Call, access: Access) -> Decision:
    """Return Permit, Hold or Deny, after the event that explains it is durable (law 4).

    Raises `Absent` for a task that is not there or not the caller's, `Busy` when compare-and-swap keeps
    losing to other calls of the same task, `NotHome` when another place decides its calls, or when at an edge an
    approval is all that it lacks, `StoreUnavailable` when nothing may leave.
    """
    for _ in range(ROUNDS):
        situation = await _read(env, call, access)
        judged = judge(situation, call, access)
        if isinstance(judged, Deny):
            await env.store.commit(Change(_decided(env, situation, access, judged), call))
            return judged
        try:
            return await _conclude(env, call, access, situation, judged)
        except Conflict:
            continue
        except _TooLate as late:
            await env.store.commit(Change(_decided(env, situation, access, late.denial, judged), call))
            return late.denial
    raise Busy("Too many calls of this task at once.", next_step="Try again in a moment.")


async def _read(env: Env, call: Call, access: Access) -> Situation:
    task = await env.store.get(Task, access.task)
    if task is None or not task.acted_for_by(call.caller):
        raise Absent(inside=f"task {access.task} for {call.caller}")
    task.must_be_at(env.place)
    age = env.age()  # before anything is read, so that what is read is no older
    head, force = await env.in_force()
    identity = await env.store.get(Identity, task.jkt)
    digest_ = provenance.digester(env.sealer.derive(task.memory))
    above = await env.above_of(task)
    posture, read = await _posture(env, force, task), await env.read_by(task)
    left = await env.beginner(task)
    return Situation(head, force, task, identity, above, read, digest_, posture, env.place, age, left)


async def _posture(env: Env, force: InForce, task: Task) -> Posture:
    """Where anything asks for it; otherwise as if nothing were known."""
    purpose = force.catalogue.purposes.get(task.purpose)
    asks = force.bundle.asks_posture or (purpose is not None and bool(purpose.needs))
    return await env.posture(task.agent) if asks else Posture("")


def judge(situation: Situation, call: Call, access: Access) -> Candidate | Deny:
    """Steps 1 to 4: pure, and no policy language yet."""
    task, catalogue = situation.task, situation.force.catalogue
    # 1. The agent, its identity, the task, the purpose.
    agent, purpose = catalogue.agents.get(task.agent), catalogue.purposes.get(task.purpose)
    if agent is None:
        return _deny(Reason.AGENT_UNKNOWN, f"{task.agent} is no longer registered.")
    frost = situation.above.frost(agent, purpose)
    if frost is not None:
        return Deny((frost,))
    flaw = stale(situation.identity, agent, call.now, max_age=purpose.identity_max_age if purpose else 0)
    if flaw:
        return _deny(Reason.IDENTITY_STALE, flaw)
    left = situation.departure.ended(task.opened_at)
    if left:
        return _deny(Reason.INITIATOR_LEFT, left)
    if task.state.value != "open":
        return _deny(Reason.TASK_NOT_OPEN, f"The task is {task.state.value}; propose a new one.")
    if call.now >= task.deadline:
        return _deny(Reason.TASK_EXPIRED, "The task's time is over; propose a new one.")
    if purpose is None or purpose.revision != task.purpose_revision:
        if situation.place:
            raise NotHome(task.id, "")  # the centre may have the revision that it was opened under
        return _deny(Reason.PURPOSE_SUPERSEDED, f"Purpose {task.purpose} has changed; propose the task again.")
    unmet = situation.posture.unmet(purpose.needs, call.now)
    if unmet:
        return _deny(Reason.POSTURE_UNMET, unmet)
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
    closed = above.closed(tool.environment) if tool.effect is not Effect.READ else None
    if closed is not None:
        return Deny((closed,))
    if situation.place and {task.agent, *(link.task.agent for link in above.links)}.intersection(above.frozen.narrowed):
        raise NotHome(task.id, "")  # what is taken away from them is known at the centre
    if situation.place:
        edge = catalogue.edges.get(situation.place)
        if edge is not None and not edge.takes(purpose.name):
            raise NotHome(task.id, "")
        flaw_of_edge = _flaw_of_edge(situation.place, situation.age, situation.force, tool)
        if flaw_of_edge is not None:
            return flaw_of_edge
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
        whom = above.taken(task, tool.name)
        sentence = f"A review took {tool.name} away from {whom}." if whom else f"Outside this task: {outside}."
        return _deny(Reason.OUT_OF_SCOPE, sentence)
    bundle, seen = situation.force.bundle, above.strictest(catalogue, agent, purpose)
    covers = canonical(
        {
            "tool": tool.name,
            "tool_revision": tool.revision,
            "arguments": access.arguments,
            "origins": {name: found.origin.word for name, found in traced.arguments.items()},
            "resource": resource,
            "task": task.id,
            "chain": [str(task.chain.initiator), *([hop.agent, hop.task] for hop in task.chain.hops)],
            "acts": [seen[0].tier.value, seen[1].profile.of(seen[0].tier).value],
            "policy": bundle.revision,
        }
    )
    asked = facts.of_call(
        *seen, judged, tool, resource, access.arguments, traced, call.now, situation.posture.at(call.now)
    )
    goal = task.goal if judged is task else f"{judged.goal} → {task.agent} was told: {task.goal}"
    owners = tuple({catalogue.agents[hop.agent].owner: None for hop in task.chain.hops})
    label = task.label | above.label
    return Candidate(
        task, agent, tool, resource, traced, asked, covers, digest_of(covers), goal, label, owners, bundle.revision
    )


async def _conclude(env: Env, call: Call, access: Access, situation: Situation, candidate: Candidate) -> Decision:
    # 5. Cedar; a second look inside tells Deny from Hold.
    verdict = situation.force.bundle.verdict(candidate.facts)
    agreed: Approval | StandingYes | None = None
    if candidate.facts.context["profile"] == Profile.WATCH.value:
        verdict = watched(verdict)
    if isinstance(verdict, Hold):
        if env.place:
            raise NotHome(situation.task.id, "")  # people are asked at the centre
        # 6. An unused approval for exactly this turns it into a permit and is consumed in the same commit.
        verdict, agreed = await _with_approval(env, call, situation, candidate, verdict)
    used = agreed.id if agreed else ""
    change = Change(_decided(env, situation, access, verdict, candidate, used), call)
    change = situation.above.guard(change.check(situation.head))
    change = change.check(situation.posture) if situation.posture.agent else change
    change = change.check(situation.departure) if situation.departure.person else change
    if isinstance(verdict, Permit):
        tool = candidate.tool
        changing = "" if tool.effect is Effect.READ else tool.name
        # 7. Budget and label, under compare-and-swap on the task: no permit after its end (law 6).
        change = change.put(situation.task.spent(tool.label(), changing), was=situation.task)
        change = situation.above.darken(change, tool.label(), changing)
        if agreed is not None:
            change = change.put(agreed.used(call.now), was=agreed)
    elif agreed is not None and agreed.version == 0:
        change = change.check(situation.task).put(agreed, was=None)
        if isinstance(agreed, Approval) and situation.force.catalogue.tells:
            change = change.put(notice(agreed, call.now), was=None)
    await env.store.commit(change)
    if isinstance(verdict, Permit) and env.place:
        denial = _flaw_of_edge(env.place, env.age(), situation.force, candidate.tool)
        if denial is not None:
            raise _TooLate(denial)
    return verdict


class _TooLate(Exception):
    """An edge was paused, or waited long for its disk: the permit is durable, and does not leave."""

    def __init__(self, denial: Deny) -> None:
        super().__init__(denial)
        self.denial = denial


def _flaw_of_edge(place: str, age: int, force: InForce, tool: Tool) -> Deny | None:
    edge = force.catalogue.edges.get(place)
    if edge is None:
        return _deny(Reason.EDGE_UNKNOWN, f"{place} is no longer an edge of this estate.")
    if age > edge.bound(tool.effect):
        return _deny(Reason.EDGE_STALE, f"{place} has not heard from the centre for too long.")
    return None


async def _with_approval(
    env: Env, call: Call, situation: Situation, candidate: Candidate, hold: Hold
) -> tuple[Decision, Approval | StandingYes | None]:
    """Every revision that the answer was given under is in the digest, or is compared: it is decided again at use."""
    asked = await env.store.find(Approval, {"access": candidate.digest}, limit=1000)
    for approval in asked:
        if approval.usable_at(call.now):
            # That this is held means that the second look permits it (see `policy.bundle`).
            who = " and ".join(a.person for a in approval.answers)
            return Permit((Why(Reason.APPROVED, f"{who} agreed."),), approval.id), approval
        if approval.state is ApprovalState.REFUSED:
            who = approval.answers[-1].person
            return Deny((Why(Reason.APPROVAL_REFUSED, f"{who} said no to exactly this."),)), None
        if approval.unanswered_at(call.now):
            sentence = "Nobody who may agree to exactly this did in time, and that is a no."
            return Deny((Why(Reason.NOBODY_ANSWERED, sentence),)), None
    for standing in await env.store.find(StandingYes, {"task": situation.task.id, "usable": "yes"}, limit=1000):
        if not standing.misfit(candidate.use(hold), call.now):
            who = " and ".join(standing.people)
            said = f"{who} agreed to this one and {standing.terms.count} more like it; {standing.left - 1} are left."
            return Permit((Why(Reason.APPROVED, said),), standing.id), standing
    for approval in asked:
        if approval.pending_at(call.now):
            questions = (Why(Reason.NEEDS_APPROVAL, f"{q.person} asks: {q.text}") for q in approval.questions)
            return Hold((*hold.why, *questions), approval.needs, approval.id), approval
    rule = situation.force.catalogue.purposes[situation.task.purpose].approval
    shown = candidate.shown(hold, canonical(candidate.arguments).decode())
    approval = ask(candidate, hold, shown, digest([candidate.digest, len(asked)]), len(asked), rule, call.now)
    return Hold(hold.why, approval.needs, approval.id), approval


def _deny(reason: Reason, sentence: str) -> Deny:
    return Deny((Why(reason, sentence),))


def _decided(
    env: Env,
    situation: Situation,
    access: Access,
    decision: Decision,
    candidate: Candidate | None = None,
    approval: str = "",
) -> events.AccessDecided:
    task, traced = situation.task, candidate.provenance if candidate else NOTHING_TRACED
    label: Label = task.label | situation.above.label
    return events.AccessDecided(
        task=task.id,
        agent=task.agent,
        tool=access.tool[:128],
        access=candidate.digest if candidate else digest([access.task, access.tool, access.arguments]),
        decision=word(decision),
        reasons=tuple(why.reason.value for why in decision.why),
        policies=tuple(why.policy for why in decision.why if why.policy),
        controls=tuple(sorted({why.control for why in decision.why if why.control})),
        approval=approval,
        catalogue=situation.force.digest,
        trust=label.trust.word,
        sensitivity=label.sensitivity.word,
        origin=word_of(traced.worst),
        carries=word_of(traced.carried),
        chain=situation.above.tasks,
        calls=task.calls,
        repeats=situation.above.judged(task).uses.get(access.tool, 0),
        purpose=task.purpose,
        resource=resource_word(env.sealer, candidate.resource) if candidate and not env.place else "",
    )
