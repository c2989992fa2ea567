"""A question to a person's identity provider, answered in its own app (OpenID Connect CIBA Core 1.0, poll mode).

ASKING ──► WAITING ──► ANSWERED
       └──────────┴──► OVER      refused there, out of time, answered elsewhere, or the approval has ended

There is one for each approval and person, so at most one `auth_req_id` of the provider is ever kept for both. One that
was lost in a crash is never polled, and whatever is answered to it is void.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from .approval import Answer, Approval
from .errors import WrongState
from .identity import Person
from .session import Provider

ATTEMPTS = 3
UNSURE = 30_000  # after it, what was sent and not written down is asked again
SLOWER = 5_000
MESSAGE_LIMIT = 120
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that an eye takes for something else
_MORE = "... (all of it in Remit)"


class BackchannelState(Enum):
    """Only WAITING can be answered, and only once."""

    ASKING = "asking"
    WAITING = "waiting"
    ANSWERED = "answered"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Vouched:
    """What an identity provider said of an answer: `request` and `token` are the SHA-256 of its `auth_req_id` and of
    the ID token; `token` is empty for a no. `code` is what both sides showed.
    """

    provider: str = ""
    issuer: str = ""
    subject: str = ""
    request: str = ""
    token: str = ""
    code: str = ""


UNVOUCHED = Vouched()


@dataclass(frozen=True, slots=True)
class BackchannelRequest:
    """Row: `digest` is the approval's, `way` the provider as it was written then, `envelope` the sealed `auth_req_id`
    while it waits, `request` its SHA-256. `due` (ms) is when it is asked, `asked_at` when it was; `interval` in ms.
    """

    approval: str
    person: str
    provider: str
    way: str
    digest: str
    due: int
    state: BackchannelState = BackchannelState.ASKING
    attempts: int = 0
    asked_at: int = 0
    interval: int = 0
    expires_at: int = 0
    envelope: str = ""
    request: str = ""
    why: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return f"{self.approval}/{self.person}"

    @property
    def context(self) -> bytes:
        """What its envelope is bound to: for this approval's digest, and no other."""
        return f"backchannel_request:{self.key}:{self.digest}".encode()

    def asking(self, now: int) -> BackchannelRequest:
        """It is sent now; if nothing is written down about it, it is sent again after a while."""
        return replace(self, attempts=self.attempts + 1, asked_at=now, due=now + UNSURE)

    def waits(self, envelope: str, request: str, interval: int, expires_at: int) -> BackchannelRequest:
        """The provider took it, and asks the person."""
        return replace(
            self,
            state=BackchannelState.WAITING,
            due=0,
            envelope=envelope,
            request=request,
            interval=interval,
            expires_at=expires_at,
        )

    def slowed(self) -> BackchannelRequest:
        """The provider wants to be asked less often (section 11)."""
        return replace(self, interval=self.interval + SLOWER)

    def failed(self, now: int) -> BackchannelRequest:
        """It did not get there: again, a little later each time."""
        return replace(self, due=now + (1_000 << self.attempts))

    def answered(self) -> BackchannelRequest:
        """Its answer is in the approval; a second one raises `WrongState`."""
        if self.state is not BackchannelState.WAITING:
            raise WrongState(f"the provider's request is {self.state.value} and cannot be answered")
        return replace(self, state=BackchannelState.ANSWERED, envelope="")

    def over(self, why: str) -> BackchannelRequest:
        """Nobody answers it any more; what comes of it later is void."""
        return replace(self, state=BackchannelState.OVER, due=0, envelope="", why=why)


def reached(
    approval: Approval, providers: Mapping[str, Provider], people: Mapping[str, Person], now: int
) -> tuple[BackchannelRequest, ...]:
    """What is owed: to everybody who is asked themselves, was not heard, and has a provider with an app; nobody at all
    where a passkey is wanted, since a provider's yes would not be enough.
    """
    if approval.passkey:
        return ()
    able = [provider for _, provider in sorted(providers.items()) if provider.ciba]
    heard = {voice for one in approval.answers for voice in one.voices}
    found: list[BackchannelRequest] = []
    for person in people.values():
        mine = Answer(person.name, True, now, groups=person.groups)
        if not mine.counts_for(approval.approvers) or approval.chain.involves(person.name) or person.name in heard:
            continue
        by = next((provider for provider in able if provider.hint(person.name)), None)
        if by is not None:
            found.append(BackchannelRequest(approval.id, person.name, by.name, by.way, approval.digest, now))
    return tuple(found)


def code(digest: str) -> str:
    """The short text that the provider's app and our own pages show of this digest, so that a person can compare."""
    number, letters = int(digest.removeprefix("sha256:")[:16], 16), ""
    for _ in range(8):
        number, letter = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[letter]
    return f"{letters[:4]}-{letters[4:]}"


def binding_message(approval: Approval) -> str:
    """The code, and as much of the sentence as fits in short plain text (section 7.1)."""
    plain = "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in approval.shown.sentence)
    text = f"{code(approval.digest)} {plain}"
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - len(_MORE)] + _MORE
