"""A review: somebody who answers for an agent has it keep what it may do, lose what it never used, or retire.

OPEN ──► ANSWERED        by its owner, deputy or escalation path, to exactly what was shown
  └─► narrowed (still OPEN) ──► FROZEN    nobody answered: first it loses what it never used, then it stops

A row is of an agent's newest review; the log has them all. Each has the next `round`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from .accountability import Terms
from .errors import WrongState
from .identity import Agent, Person
from .narrowing import Entitlement
from .purpose import Purpose


class Verdict(Enum):
    """What becomes of it. NARROW: it loses what it never used. RETIRE: it is frozen."""

    KEEP = "keep"
    NARROW = "narrow"
    RETIRE = "retire"


class ReviewState(Enum):
    """FROZEN can still be answered."""

    OPEN = "open"
    ANSWERED = "answered"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Review:
    """Row, keyed by the agent. Instants in ms. It looks at what happened from `since` on. `narrow_at` and `freeze_at`
    are when nobody answering has its effects; `narrowed_at` 0: it had not the first. `next_at` is when another is
    opened, once it was answered; 0: when somebody does. `covers` is what was shown to whoever answered.
    """

    agent: str
    round: int
    campaign: str
    opened_at: int
    opened_by: str
    since: int
    due_at: int
    narrow_at: int
    freeze_at: int
    state: ReviewState = ReviewState.OPEN
    narrowed_at: int = 0
    next_at: int = 0
    verdict: str = ""
    person: str = ""
    note: str = ""
    passkey: str = ""
    digest: str = ""
    covers: str = ""
    answered_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.agent

    @property
    def due(self) -> int:
        """When something happens to it by itself; 0: never."""
        match self.state:
            case ReviewState.OPEN:
                return self.freeze_at if self.narrowed_at else self.narrow_at
            case ReviewState.ANSWERED:
                return self.next_at
        return 0

    @property
    def waits(self) -> bool:
        """Whether it can be answered."""
        return self.state is not ReviewState.ANSWERED

    def answered(self, person: str, verdict: Verdict, now: int, digest: str, covers: str) -> Review:
        """They say what becomes of it, to exactly this."""
        if not self.waits:
            raise WrongState(f"the review of {self.agent} was answered by {self.person}")
        return replace(
            self, state=ReviewState.ANSWERED, person=person, verdict=verdict.value, answered_at=now, digest=digest,
            covers=covers,
        )  # fmt: skip

    def narrowed(self, now: int) -> Review:
        """Nobody answered in time: it lost what it never used."""
        return replace(self, narrowed_at=now)

    def frozen(self) -> Review:
        """Nobody answered even then."""
        return replace(self, state=ReviewState.FROZEN)


def opened(before: Review | None, agent: str, campaign: str, by: str, now: int, terms: Terms) -> Review:
    """The next review of an agent; it looks back over the window, or further to the one before: soon after that one
    little was used, and what an agent needs seldom is no reason to lose it.
    """
    if before is not None and before.waits:
        raise WrongState(f"a review of {agent} is open already")
    since = max(0, now - terms.window)
    if before is not None and before.answered_at:
        since = min(since, before.answered_at)
    due = now + terms.review_due
    narrow = due + terms.narrow_after
    number = before.round + 1 if before is not None else 1
    return Review(agent, number, campaign, now, by, since, due, narrow, narrow + terms.freeze_after)


def every(agent: Agent, purposes: Iterable[Purpose], terms: Terms) -> int:
    """How often it is reviewed (ms): as it or one of its purposes says, the most often; 0: never by itself."""
    said = [agent.review_every, *(p.review_every for p in purposes if agent.name in p.agents)]
    return min(filter(None, said), default=terms.review_every)


def entitlements(purpose: Purpose) -> set[Entitlement]:
    """All that it lets its agents have or do."""
    tools = {Entitlement(purpose.name, "tool", rule.tool) for rule in purpose.grants}
    return tools | {Entitlement(purpose.name, "credential", rule.name) for rule in purpose.credentials}


def granted(agent: Agent, purposes: Iterable[Purpose]) -> tuple[Entitlement, ...]:
    """All that the catalogue lets it have or do."""
    found: set[Entitlement] = set()
    return tuple(sorted(found.union(*(entitlements(p) for p in purposes if agent.name in p.agents))))


def may_answer(person: Person, agent: Agent, answers_for: str) -> bool:
    """Whether they are whoever answers for it, its deputy, or of its escalation path; nobody else."""
    asked = {answers_for, agent.deputy, *agent.escalation} - {""}
    return not asked.isdisjoint({person.name, *person.groups})
