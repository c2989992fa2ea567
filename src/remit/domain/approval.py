"""A human's single-use yes to the digest of exactly what was shown (law 7).

PENDING ──► GRANTED ──► USED
        ├─► REFUSED
        └─► EXPIRED  (also from GRANTED)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from .chain import Chain
from .decision import Requirement
from .errors import Denied, WrongState


class ApprovalState(Enum):
    """Only GRANTED can be used, and only once."""

    PENDING = "pending"
    GRANTED = "granted"
    REFUSED = "refused"
    USED = "used"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Answer:
    """One person's yes or no, with the groups they were in then and the note they left."""

    person: str
    yes: bool
    at: int
    note: str = ""
    groups: tuple[str, ...] = ()

    def counts_for(self, need: Requirement) -> bool:
        """Tell whether this person is one of those the requirement names."""
        return self.person in need.approvers or bool(set(self.groups) & set(need.approvers))


@dataclass(frozen=True, slots=True)
class Came:
    """Where an argument's value came from, in the words of `domain.origin`; `sources` are the tools it was read in."""

    argument: str
    origin: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """What the person sees and what the digest covers. `arguments` is canonical JSON text."""

    sentence: str
    tool: str
    arguments: str
    resource: str
    effect: str
    goal: str
    why: tuple[str, ...]
    policies: tuple[str, ...]
    controls: tuple[str, ...]
    origins: tuple[Came, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """Row. `access` digests tool, arguments and their origins, resource, task, chain and policy; `digest` adds the
    round."""

    id: str
    digest: str
    access: str
    round: int
    task: str
    chain: Chain
    owner: str
    shown: Shown
    needs: tuple[Requirement, ...]
    asked_at: int
    expires_at: int
    answers: tuple[Answer, ...] = ()
    state: ApprovalState = ApprovalState.PENDING
    version: int = 0

    @property
    def key(self) -> str:
        return self.id

    def pending_at(self, now: int) -> bool:
        """Still waits for answers."""
        return self.state is ApprovalState.PENDING and now < self.expires_at

    def usable_at(self, now: int) -> bool:
        """Granted, unused, in time."""
        return self.state is ApprovalState.GRANTED and now < self.expires_at

    def answered(self, person: str, groups: tuple[str, ...], yes: bool, now: int, note: str = "") -> Approval:
        """Add one person's answer.

        Raises `Denied` when that person may not answer: outside the approving groups, the initiator,
        somebody in the agent's own chain, or somebody who answered already. One no refuses; it is granted
        when every requirement has its quorum of different people.
        """
        if not self.pending_at(now):
            raise WrongState(f"approval {self.id} is not waiting for an answer")
        if self.chain.involves(person):
            raise Denied("You began this task or act in it, so you cannot approve it.", reasons=("self_approval",))
        answer = Answer(person, yes, now, note, groups)
        if not any(answer.counts_for(need) for need in self.needs):
            asked = " or ".join(self.approvers)
            raise Denied(f"Only {asked} may answer this.", reasons=("not_an_approver",), next_step="Ask one of them.")
        if any(earlier.person == person for earlier in self.answers):
            raise Denied("You have already answered this.", reasons=("answered_already",))
        answers = (*self.answers, answer)
        state = self.state
        if not yes:
            state = ApprovalState.REFUSED
        elif all(sum(a.yes and a.counts_for(need) for a in answers) >= need.quorum for need in self.needs):
            state = ApprovalState.GRANTED
        return replace(self, answers=answers, state=state)

    @property
    def approvers(self) -> tuple[str, ...]:
        """Everybody who may answer, each once."""
        return tuple(dict.fromkeys(name for need in self.needs for name in need.approvers))

    def used(self, now: int) -> Approval:
        """Use it up; a second use raises `WrongState`."""
        if not self.usable_at(now):
            raise WrongState(f"approval {self.id} is {self.state.value} and cannot be used")
        return replace(self, state=ApprovalState.USED)

    def expired(self) -> Approval:
        """Close it unanswered or unused."""
        if self.state not in (ApprovalState.PENDING, ApprovalState.GRANTED):
            raise WrongState(f"approval {self.id} is {self.state.value} and cannot expire")
        return replace(self, state=ApprovalState.EXPIRED)
