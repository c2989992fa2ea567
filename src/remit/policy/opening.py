"""May this task be open? One judgement, for whoever proposes it and for whoever looks at an open one again.

An open task is judged exactly as it was proposed: its calls, and what it has read, count for nothing here. What is
held is not permitted: a proposal cannot wait for a person, and so neither can an open task.
"""

from __future__ import annotations

from dataclasses import dataclass

from remit.domain import facts
from remit.domain.catalogue import Catalogue
from remit.domain.context import Context
from remit.domain.decision import Hold, Permit, Reason, Why
from remit.domain.identity import stale
from remit.domain.task import Task

from .bundle import Bundle


@dataclass(frozen=True, slots=True)
class Opening:
    """`why` is everything that speaks against it: nothing, if it may be open. `policies` are those that spoke."""

    why: tuple[Why, ...]
    policies: tuple[str, ...] = ()


def judge(catalogue: Catalogue, bundle: Bundle, task: Task, context: Context, now: int) -> Opening:
    """Whether it may be open now."""
    agent, purpose = catalogue.agents.get(task.agent), catalogue.purposes.get(task.purpose)
    if agent is None:
        return Opening((Why(Reason.AGENT_UNKNOWN, f"{task.agent} is no longer registered."),))
    if purpose is None:
        return Opening((Why(Reason.PURPOSE_SUPERSEDED, f"There is no purpose {task.purpose} any more."),))
    if purpose.revision != task.purpose_revision:
        return Opening((Why(Reason.PURPOSE_SUPERSEDED, f"Purpose {task.purpose} has changed."),))
    over = context.above.flaw(catalogue, now)
    if over is not None:
        return Opening((over,))
    found: list[Why] = []
    frost = context.above.frost(agent, purpose)
    if frost is not None:
        found.append(frost)
    shut = purpose.closed(now)
    if shut:
        found.append(Why(Reason.OUT_OF_HOURS, shut))
    flaw = stale(context.identity, agent, now, max_age=purpose.identity_max_age, kinds=purpose.attested_by)
    if flaw:
        found.append(Why(Reason.IDENTITY_STALE, flaw))
    unmet = context.posture.unmet(purpose.needs, now)
    if unmet:
        found.append(Why(Reason.POSTURE_UNMET, unmet))
    left = context.departure.ended(task.opened_at)
    if left:
        found.append(Why(Reason.INITIATOR_LEFT, left))
    if not catalogue.may_begin(purpose, task.initiator):
        asked = ", ".join(purpose.initiators)
        found.append(Why(Reason.OUT_OF_SCOPE, f"Only {asked} may begin {purpose.name}."))
    seen = context.above.strictest(catalogue, agent, purpose)
    verdict = bundle.verdict(facts.of_proposal(*seen, task.chain, context.above.label, now, context.posture.at(now)))
    policies = tuple(why.policy for why in verdict.why if why.policy)
    if not found and not isinstance(verdict, Permit):
        found += verdict.why
        if isinstance(verdict, Hold):
            found.append(Why(Reason.NEEDS_APPROVAL, "A proposal cannot wait for a person; its actions can."))
    return Opening(tuple(found), policies)
