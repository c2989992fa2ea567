"""What people were asked, and what they answered."""

from __future__ import annotations

from dataclasses import dataclass

from ..approval import ONCE, Again
from ..backchannel import UNVOUCHED, Vouched
from ..passkey import UNSIGNED, Signed


@dataclass(frozen=True, slots=True)
class PasskeyRegistered:
    """A person's own key (a COSE key, base64url) answers for them from now on, at this domain alone."""

    passkey: str
    person: str
    public_key: str
    rp_id: str
    origin: str
    synced: bool


@dataclass(frozen=True, slots=True)
class PasskeyRemoved:
    """This key answers nothing any more."""

    passkey: str
    person: str


@dataclass(frozen=True, slots=True)
class ApprovalAnswered:
    """A person said yes or no to exactly this digest; `signed` proves it, or `vouched` says whose app they said it in.

    Either may be empty. `note` is a digest.
    """

    approval: str
    task: str
    digest: str
    person: str
    yes: bool
    state: str
    note: str = ""
    instead_of: str = ""
    again: Again = ONCE
    signed: Signed = UNSIGNED
    vouched: Vouched = UNVOUCHED


@dataclass(frozen=True, slots=True)
class ApprovalExpired:
    """Nobody answered, or nobody used the answer, in time."""

    approval: str
    task: str


@dataclass(frozen=True, slots=True)
class ApprovalEscalated:
    """Nobody had answered, so the next of the agent's escalation path is asked too, for exactly the same."""

    approval: str
    task: str
    to: str


@dataclass(frozen=True, slots=True)
class ApprovalHandedOn:
    """Somebody who was asked has somebody else answer in their place."""

    approval: str
    task: str
    person: str
    to: str


@dataclass(frozen=True, slots=True)
class ApprovalQuestioned:
    """Somebody who was asked wants to know something first; `question` is a digest."""

    approval: str
    task: str
    person: str
    question: str


@dataclass(frozen=True, slots=True)
class WentAway:
    """Until then somebody else answers what this person is asked."""

    person: str
    to: str
    until: int
    reason: str


@dataclass(frozen=True, slots=True)
class CameBack:
    """Nobody stands in for this person any more."""

    person: str


@dataclass(frozen=True, slots=True)
class NoticeSent:
    """This route took the message that somebody is asked. That anybody read it is not said."""

    approval: str
    route: str


@dataclass(frozen=True, slots=True)
class NoticeFailed:
    """These routes did not take it; it is tried again."""

    approval: str
    routes: tuple[str, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class NoticeEnded:
    """Nothing is owed any more: every route took it, none is for those who are asked, or nobody is asked any more."""

    approval: str
    why: str


@dataclass(frozen=True, slots=True)
class BackchannelOwed:
    """Somebody who is asked will be asked in their identity provider's app too; `code` is what both sides show."""

    approval: str
    person: str
    provider: str
    code: str


@dataclass(frozen=True, slots=True)
class BackchannelAsking:
    """The request to the provider is sent after this; an earlier one that was not taken in counts for nothing."""

    approval: str
    person: str
    provider: str
    attempts: int


@dataclass(frozen=True, slots=True)
class BackchannelAsked:
    """The provider asks them; `request` is the SHA-256 of the only `auth_req_id` whose answer counts."""

    approval: str
    person: str
    request: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class BackchannelSlowed:
    """The provider wants to be asked less often: every `interval` ms."""

    approval: str
    person: str
    interval: int


@dataclass(frozen=True, slots=True)
class BackchannelFailed:
    """The provider could not be asked; it is tried again."""

    approval: str
    person: str
    attempts: int


@dataclass(frozen=True, slots=True)
class BackchannelOver:
    """Nothing is answered there any more, and why; it was no answer to the approval."""

    approval: str
    person: str
    why: str


@dataclass(frozen=True, slots=True)
class StandingYesEnded:
    """It covers nothing any more, and so many of it were left."""

    standing_yes: str
    task: str
    reason: str
    left: int
