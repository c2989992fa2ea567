"""Static secrets in numbered versions, and secrets handed over once from one person to another.

    version:    ACTIVE ──► RETIRING ──► RETIRED        hand-over:  WAITING ──► OPENED
                                                                      ├─────► WITHDRAWN
                                                                      └─────► EXPIRED

The newest active version is the one that is minted. RETIRING is not, and the leases that hold it are being ended;
RETIRED is written when none is left, and then the envelope is gone. A hand-over keeps its envelope only while WAITING.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from .caller import Caller, CallerKind
from .errors import WrongState


class SecretState(Enum):
    """Only ACTIVE is minted; only RETIRED has no envelope."""

    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """Row: one version of a static secret under an envelope (AES-256-GCM), never in the clear at rest.

    Instants and durations in ms; 0 is never. `rotate_at` is when whoever answers for it should have put a newer one,
    `reminded_at` when that was found overdue. A secret's first version is keyed by its name alone.
    """

    name: str
    envelope: str = field(repr=False)
    sealed_at: int
    sealed_by: str
    number: int = 1
    state: SecretState = SecretState.ACTIVE
    note: str = ""
    expires_at: int = 0
    rotate_after: int = 0
    rotate_at: int = 0
    reminded_at: int = 0
    retired_at: int = 0
    retire_reason: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.name if self.number == 1 else self.label

    @property
    def label(self) -> str:
        """`name/number`: what a lease says it handed out."""
        return f"{self.name}/{self.number}"

    @property
    def context(self) -> bytes:
        """What its envelope is bound to."""
        return b"sealed_secret:" + self.key.encode()

    def active_at(self, now: int) -> bool:
        """May be minted."""
        return self.state is SecretState.ACTIVE and not 0 < self.expires_at <= now

    def superseded(self) -> SealedSecret:
        """A newer one is there, so nobody need be reminded of this one."""
        return replace(self, rotate_at=0, reminded_at=0)

    def reminded(self, now: int) -> SealedSecret:
        """It was found overdue."""
        self._needs(SecretState.ACTIVE)
        return replace(self, reminded_at=now)

    def retiring(self, now: int, reason: str) -> SealedSecret:
        """Minted no more; what holds it must end."""
        self._needs(SecretState.ACTIVE)
        ended = replace(self.superseded(), state=SecretState.RETIRING)
        return replace(ended, retired_at=now, retire_reason=reason)

    def retired(self) -> SealedSecret:
        """Nothing holds it any more: the fact stays, the envelope goes."""
        self._needs(SecretState.RETIRING)
        return replace(self, state=SecretState.RETIRED, envelope="")

    @property
    def due(self) -> int:
        """When something is to be done about it; 0: never."""
        if self.state is SecretState.RETIRING:
            return self.retired_at
        if self.state is SecretState.RETIRED:
            return 0
        remind = 0 if self.reminded_at else self.rotate_at
        return min(filter(None, (self.expires_at, remind)), default=0)

    def _needs(self, state: SecretState) -> None:
        if self.state is not state:
            raise WrongState(f"version {self.number} of {self.name} is {self.state.value}")


def key_of(label: str) -> str:
    """The key of the version that a lease names."""
    name, _, number = label.rpartition("/")
    return name if number == "1" else label


def current(versions: Iterable[SealedSecret], now: int) -> SealedSecret | None:
    """The version that is minted now."""
    return max((v for v in versions if v.active_at(now)), key=lambda v: v.number, default=None)


class HandOverState(Enum):
    """Only WAITING can be opened, once."""

    WAITING = "waiting"
    OPENED = "opened"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class HandOver:
    """Row: something secret for one named person, to be opened once.

    `envelope` is what the sender sealed under a key that only the link has, sealed again under the root key: neither
    alone opens it. `proof` is the SHA-256 (hex) of what only the link's holder can show. Instants in ms.
    """

    id: str
    sender: str
    recipient: str
    envelope: str = field(repr=False)
    proof: str
    sent_at: int
    expires_at: int
    note: str = ""
    state: HandOverState = HandOverState.WAITING
    ended_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.id

    def opens_for(self, caller: Caller, proof: str, now: int) -> bool:
        """This very person, with the link, in time, and nobody before."""
        addressed = caller.kind is CallerKind.PERSON and caller.name == self.recipient
        waiting = self.state is HandOverState.WAITING and now < self.expires_at
        return addressed and waiting and proof == self.proof

    def ended(self, how: HandOverState, now: int) -> HandOver:
        """The fact stays, the envelope goes."""
        if self.state is not HandOverState.WAITING or how is HandOverState.WAITING:
            raise WrongState(f"hand-over {self.id} is {self.state.value} and cannot become {how.value}")
        return replace(self, state=how, ended_at=now, envelope="")


@dataclass(frozen=True, slots=True)
class Outbox:
    """Row: counts what one sender has sent. Sending moves it, so two at once cannot both be the last allowed."""

    sender: str
    sent: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.sender
