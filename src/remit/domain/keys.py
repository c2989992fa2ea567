"""Signing keys as rows, and when each of them may do what.

    NEXT ──► CURRENT ──► RETIRING ──► RETIRED
      └──────────┴───────────────────────►┘   at once, when the key may be known to somebody else

NEXT is published and does not sign before `signs_from`: by then everybody who verifies has read it. CURRENT signs; of
each use there is one. RETIRING signs nothing and verifies until `retire_at`, when everything that it signed is over.
RETIRED is published no more, and its private half is destroyed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from .errors import WrongState

SIGNS: Mapping[str, str] = {
    "token": "agents' access tokens, subject tokens, and JWT credentials that tasks hold",
    "federation": "tokens that clouds are shown; what clouds gave for them lives until its own end",
    "svid": "JWT-SVIDs",
    "authority": "X.509-SVIDs",
    "ssh": "SSH certificates, where the published authorities are read",
    "x509": "client certificates of tasks, where the published authorities are read",
    "client": "who Remit is to other authorization servers, where the published keys are read",
    "signal": "events that other systems are told, until they read the published keys again",
    "log": "checkpoints, by whoever pinned the key",
}
ROTATED = tuple(SIGNS)
WHEN_NEEDED = ("signal",)
DAY = 86_400_000
NEVER = 2**62  # ms


class KeyState(Enum):
    """All but RETIRED are published."""

    NEXT = "next"
    CURRENT = "current"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Row. `use` says what it signs, and nothing else is ever signed with it:

    `token` access tokens (ES256), `log` checkpoints (EdDSA), `federation` what clouds are shown (RS256:
    Azure promises no other), `svid` JWT-SVIDs (ES256), `authority` X.509-SVIDs (ES256),
    `x509` client certificates of tasks (ES256), `ssh` SSH certificates of tasks (ES256), `client` client assertions
    to other authorization servers (ES256), `signal` what other systems are told (RS256: the CAEP interoperability
    profile asks for it). Keys of `WHEN_NEEDED` are made when first needed.

    `public` is the JWK's members as text. `sealed` is the private half under an envelope, which no event keeps: once it
    is taken out of its row it is gone. Instants in ms; `changed_at` is that of the newest state.
    """

    kid: str
    use: str
    algorithm: str
    public: str
    created_at: int
    state: KeyState = KeyState.CURRENT
    signs_from: int = 0
    retire_at: int = 0
    changed_at: int = 0
    sealed: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.kid

    @property
    def published(self) -> bool:
        """It verifies."""
        return self.state is not KeyState.RETIRED

    def promoted(self, now: int) -> SigningKey:
        """It signs from now on."""
        self._needs(KeyState.NEXT)
        if now < self.signs_from:
            raise WrongState(f"key {self.kid} has not been published for long enough")
        return replace(self, state=KeyState.CURRENT, changed_at=now)

    def retiring(self, now: int, retire_at: int) -> SigningKey:
        """It signs nothing more; what it signed is good until `retire_at`."""
        self._needs(KeyState.CURRENT)
        return replace(self, state=KeyState.RETIRING, retire_at=retire_at, changed_at=now)

    def retired(self, now: int) -> SigningKey:
        """Its time is over."""
        self._needs(KeyState.RETIRING)
        if now < self.retire_at:
            raise WrongState(f"what key {self.kid} signed is still good")
        return replace(self, state=KeyState.RETIRED, changed_at=now, sealed="")

    def destroyed(self, now: int) -> SigningKey:
        """It may be known to somebody else: what it signed is refused from now on."""
        self._needs(KeyState.NEXT, KeyState.CURRENT, KeyState.RETIRING)
        return replace(self, state=KeyState.RETIRED, retire_at=now, changed_at=now, sealed="")

    def _needs(self, *states: KeyState) -> None:
        if self.state not in states:
            raise WrongState(f"key {self.kid} is {self.state.value}")


@dataclass(frozen=True, slots=True)
class KeyTurn:
    """Row: counts the changes to the keys of one use. Every change moves it, so of two at once only one happens."""

    use: str
    turns: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.use


@dataclass(frozen=True, slots=True)
class Rotation:
    """In ms: a key's age at which the next is made, how long that is published before it signs, and how long the old
    one verifies afterwards. `retention` is longer than anything lives that a key signs.

    Auditors pin the log's key: it is replaced only when somebody says so, and the old one goes on signing beside the
    new one for `log_retention`.
    """

    after: int = 30 * DAY
    overlap: int = 3_600_000
    retention: int = 8 * DAY
    log_retention: int = 90 * DAY

    def of(self, use: str) -> Rotation:
        """The times of one use."""
        return replace(self, after=NEVER, retention=self.log_retention) if use == "log" else self

    @property
    def cached_for(self) -> int:
        """How long whoever verifies may keep our keys (s): half the overlap, and five minutes at most."""
        return min(300, self.overlap // 2_000)


class Step(Enum):
    """What the keys of one use need now."""

    NOTHING = "nothing"
    CREATE = "create"
    PROMOTE = "promote"
    RETIRE = "retire"


def in_state(keys: Sequence[SigningKey], state: KeyState) -> SigningKey | None:
    """The oldest key of this use in this state."""
    return min((key for key in keys if key.state is state), key=lambda key: (key.created_at, key.kid), default=None)


def due(keys: Sequence[SigningKey], now: int, rotation: Rotation) -> Step:
    """What one use's keys need at `now`, one step at a time."""
    upcoming, current = in_state(keys, KeyState.NEXT), in_state(keys, KeyState.CURRENT)
    if upcoming is not None and now >= upcoming.signs_from:
        return Step.PROMOTE
    if upcoming is None and current is not None and now - current.created_at >= rotation.after:
        return Step.CREATE
    if any(key.state is KeyState.RETIRING and now >= key.retire_at for key in keys):
        return Step.RETIRE
    return Step.NOTHING
