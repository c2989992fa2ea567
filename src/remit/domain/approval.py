"""A human's single-use yes to the digest of exactly what was shown (law 7).

PENDING ──► GRANTED ──► USED
        ├─► REFUSED
        └─► EXPIRED  (also from GRANTED)

Who may say yes: whoever a requirement names, or who was asked as time went by (`escalation`), or who stands in for one
of those. Nobody who began the task or acts in it answers at all, in person or through somebody who stands in. An owner
of an agent in the chain may answer, and is never the only one who says yes, unless the purpose says that is enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from .chain import Chain
from .decision import Requirement
from .errors import Denied, WrongState

QUESTIONS = 8


class ApprovalState(Enum):
    """Only GRANTED can be used, and only once."""

    PENDING = "pending"
    GRANTED = "granted"
    REFUSED = "refused"
    USED = "used"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Again:
    """The next `count` like it, until `until` (ms). The value of a `released` argument that is a number may be smaller
    than the one that was shown; that of another one may be any.
    """

    count: int = 0
    until: int = 0
    released: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.count > 0


ONCE = Again()


@dataclass(frozen=True, slots=True)
class Answer:
    """One person's yes or no, with the groups they were in then and the note they left.

    `instead_of` names the person they stood in for, with that person's groups. `passkey` is the credential that signed
    it, `provider` the identity provider in whose app it was given; neither: the person was known by a key or a session,
    and there is no evidence but the event.
    """

    person: str
    yes: bool
    at: int
    note: str = ""
    groups: tuple[str, ...] = ()
    instead_of: str = ""
    instead_groups: tuple[str, ...] = ()
    passkey: str = ""
    again: Again = ONCE
    provider: str = ""

    def counts_for(self, names: tuple[str, ...]) -> bool:
        """Tell whether these names and groups have this person in them, or whom they stand in for."""
        mine = {self.person, *self.groups, *filter(None, (self.instead_of, *self.instead_groups))}
        return bool(mine & set(names))

    @property
    def voices(self) -> set[str]:
        """Whose yes or no this is: nobody is heard twice, whoever speaks for them."""
        return set(filter(None, (self.person, self.instead_of)))


@dataclass(frozen=True, slots=True)
class Came:
    """Where an argument's value came from, in the words of `domain.origin`; `sources` are the tools it was read in."""

    argument: str
    origin: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """What the person sees and what the digest covers. `arguments` is canonical JSON text; `read` is what the task had
    read by then: trust, sensitivity, and the tools.
    """

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
    carries: str = "none"
    trust: str = ""
    sensitivity: str = ""
    read: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What an approver wants to know first; the agent's side is told it in these words."""

    person: str
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class HandedOn:
    """`by`, who was asked, asks `to` to answer in their place, this once."""

    by: str
    to: str
    at: int


@dataclass(frozen=True, slots=True)
class Approval:
    """Row. `access` digests tool, arguments and their origins, resource, task, chain and policy, which are `covers` as
    canonical JSON; `digest` adds the round.

    `owners` answer for the agents of the chain. `escalation` is who is still to be asked, one every `escalate_every` ms
    and next at `escalate_at` (0: nobody); `asked` are those that were. None of that is part of what is approved.
    """

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
    covers: str = ""
    tool_revision: str = ""
    policy_revision: str = ""
    owners: tuple[str, ...] = ()
    owner_alone: bool = True
    passkey: bool = False
    escalation: tuple[str, ...] = ()
    escalate_every: int = 0
    escalate_at: int = 0
    asked: tuple[str, ...] = ()
    handed_on: tuple[HandedOn, ...] = ()
    questions: tuple[Question, ...] = ()
    version: int = 0

    @property
    def key(self) -> str:
        return self.id

    @property
    def finding(self) -> str:
        """The finding that this is about, where a person and no task asks (`task` is its id then)."""
        return self.task if self.task.startswith("fnd_") else ""

    def pending_at(self, now: int) -> bool:
        """Still waits for answers."""
        return self.state is ApprovalState.PENDING and now < self.expires_at

    def unanswered_at(self, now: int) -> bool:
        """Its time is over, and it was never granted: that is a no."""
        over = self.state is ApprovalState.EXPIRED or not self.pending_at(now)
        return over and self.state in (ApprovalState.PENDING, ApprovalState.EXPIRED) and not self.agreed

    def usable_at(self, now: int) -> bool:
        """Granted, unused, in time."""
        return self.state is ApprovalState.GRANTED and now < self.expires_at

    def answered(self, answer: Answer) -> Approval:
        """Add one person's answer.

        Raises `Denied` when that person may not answer: not among those who are asked, the initiator, somebody in the
        agent's own chain, or somebody who was heard already. One no refuses; it is granted when every requirement has
        its quorum of different people, and one of all that said yes answers for none of the agents.
        """
        self._waits(answer.at)
        if any(self.chain.involves(name) for name in answer.voices):
            raise Denied("You began this task or act in it, so you cannot approve it.", reasons=("self_approval",))
        if not answer.counts_for(self.approvers):
            asked = " or ".join(self.approvers)
            raise Denied(f"Only {asked} may answer this.", reasons=("not_an_approver",), next_step="Ask one of them.")
        if any(earlier.voices & answer.voices for earlier in self.answers):
            raise Denied("You have already answered this.", reasons=("answered_already",))
        if self.passkey and answer.yes and not answer.passkey:
            step = "Open the approval in the console and sign with your passkey."
            raise Denied("This wants a yes that is signed by a passkey.", reasons=("passkey_wanted",), next_step=step)
        found = replace(self, answers=(*self.answers, answer))
        if not answer.yes:
            return replace(found, state=ApprovalState.REFUSED)
        return replace(found, state=ApprovalState.GRANTED) if found.agreed else found

    @property
    def agreed(self) -> bool:
        """Whether everybody who must agree has."""
        enough = all(self.missing(need) == 0 for need in self.needs)
        return enough and not self.wants_another

    def missing(self, need: Requirement) -> int:
        """How many more must agree."""
        names = (*need.approvers, *self.asked)
        return max(0, need.quorum - sum(a.yes and a.counts_for(names) for a in self.answers))

    @property
    def wants_another(self) -> bool:
        """Whether nobody has agreed yet who answers for none of the agents in the chain."""
        return not self.owner_alone and not any(a.yes and not a.voices & set(self.owners) for a in self.answers)

    @property
    def approvers(self) -> tuple[str, ...]:
        """Everybody who may answer, each once."""
        return tuple(dict.fromkeys((*(name for need in self.needs for name in need.approvers), *self.asked)))

    @property
    def again(self) -> Again:
        """The terms of a standing yes, if all who said yes gave the same."""
        terms = {a.again for a in self.answers if a.yes}
        return terms.pop() if len(terms) == 1 else ONCE

    def escalated(self, now: int) -> Approval:
        """Ask the next name of the path too, and set when the one after it is asked."""
        name, *rest = self.escalation
        after = now + self.escalate_every
        return replace(
            self,
            asked=(*self.asked, name),
            escalation=tuple(rest),
            escalate_at=after if rest and after < self.expires_at else 0,
        )

    def handed(self, handed: HandedOn) -> Approval:
        """Somebody who is asked has somebody else answer in their place."""
        self._waits(handed.at)
        kept = tuple(one for one in self.handed_on if one.by != handed.by)
        return replace(self, handed_on=(*kept, handed))

    def questioned(self, question: Question) -> Approval:
        """Somebody who is asked asks back."""
        self._waits(question.at)
        if len(self.questions) >= QUESTIONS:
            raise WrongState(f"{QUESTIONS} questions were asked already", next_step="Say yes or no, or hand it on.")
        return replace(self, questions=(*self.questions, question))

    def _waits(self, now: int) -> None:
        if not self.pending_at(now):
            raise WrongState(f"approval {self.id} is not waiting for an answer")

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


@dataclass(frozen=True, slots=True)
class Away:
    """Row: while it lasts, `to` answers what `person` is asked, keyed by `person`. It goes one step: whoever stands in
    for `to` does not. `until` (ms) in the past: it is over.
    """

    person: str
    to: str
    since: int
    until: int
    reason: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.person

    def at(self, now: int) -> bool:
        """Whether they are away now."""
        return self.since <= now < self.until
