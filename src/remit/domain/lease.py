"""The record that a credential may exist, and the duty to end it (laws 4 and 5).

    RESERVED ──► LIVE ──► ENDING ──► ENDED
        └──────────────────►┘

RESERVED is durable before the mint begins. ENDED is written only after the issuer confirmed
the kill, and never before `mint_until`: until then a mint somewhere may still be in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from .errors import WrongState
from .flow import Json


class LeaseState(Enum):
    """Everything but ENDED may have a live credential behind it."""

    RESERVED = "reserved"
    LIVE = "live"
    ENDING = "ending"
    ENDED = "ended"


class Waits(Enum):
    """What a credential that is not confirmed dead waits for."""

    OPEN = "in use"
    KILL = "killing"
    RETRY = "retry"
    MINT = "mint window"
    ITSELF = "dies by itself"


@dataclass(frozen=True, slots=True)
class Lease:
    """Row. `handle` is the credential's name at its issuer, chosen before the mint so that it can always be killed.

    `grants` is the issuer's least-privilege description; a text that is nothing but `{parameter}` is filled in. Where a
    parameter stands within a text, the issuer fills it from `parameters`, because only it knows what must be escaped.
    `reference` is what the issuer needs to find it again, should its handle not be enough: never a secret in the clear.
    `attempts` counts kills that failed; `retry_at` is when the next is due (ms); `minted_at` 0 means never confirmed.
    `environment` and `sensitivity` are of the data behind it. `holds` is the version of a static secret that was
    handed out (`name/number`), or empty. `ending_at` is since when it is to die, and `lives_until` when it dies by
    itself because nobody can take it back (ms). `status` is its place in a status list (`list/index`), if it has one.
    `trace` is the span that asked for it, where traces are exported.
    """

    id: str
    task: str
    agent: str
    credential: str
    issuer: str
    handle: str
    reserved_at: int
    mint_until: int
    expires_at: int
    grants: Mapping[str, Json] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    state: LeaseState = LeaseState.RESERVED
    minted_at: int = 0
    reference: str = ""
    ended_at: int = 0
    end_reason: str = ""
    attempts: int = 0
    retry_at: int = 0
    last_error: str = ""
    holds: str = ""
    ending_at: int = 0
    lives_until: int = 0
    status: str = ""
    trace: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.id

    def live(self, now: int, reference: str = "", ends_at: int = 0) -> Lease:
        """The issuer confirmed the mint, of what may die before the lease would (`ends_at`)."""
        self._needs(LeaseState.RESERVED)
        expires_at = min(filter(None, (self.expires_at, ends_at)))
        return replace(self, state=LeaseState.LIVE, minted_at=now, expires_at=expires_at).known_as(reference)

    def known_as(self, reference: str) -> Lease:
        """What its kill will need is known, if it is."""
        return replace(self, reference=reference or self.reference)

    def ending(self, now: int, reason: str, since: int = 0) -> Lease:
        """Its credential must die; due at once. `since` is when its task ended, if that is why."""
        self._needs(LeaseState.RESERVED, LeaseState.LIVE)
        return replace(self, state=LeaseState.ENDING, end_reason=reason, retry_at=now, ending_at=since or now)

    def kill_failed(self, now: int, error: str) -> Lease:
        """Try again after 1, 2, 4 … 60 s; never give up."""
        self._needs(LeaseState.ENDING)
        delay = min(60_000, 1_000 * 2 ** min(self.attempts, 6))
        return replace(self, attempts=self.attempts + 1, retry_at=now + delay, last_error=error[:200])

    def may_end_at(self, now: int) -> bool:
        """A confirmed kill ends it only if no mint can still be in flight."""
        return self.minted_at > 0 or now >= self.mint_until

    def killed_early(self) -> Lease:
        """Killed once, but a mint may still land: kill again when the mint window has closed."""
        self._needs(LeaseState.ENDING)
        return replace(self, retry_at=self.mint_until)

    def outlives(self, until: int, why: str) -> Lease:
        """Nobody can take it back: look again when it has died by itself."""
        self._needs(LeaseState.ENDING)
        return replace(self, retry_at=until, lives_until=until, last_error=why[:200])

    def ended(self, now: int) -> Lease:
        """The issuer confirmed that the credential is dead and can never come to life."""
        self._needs(LeaseState.ENDING)
        if not self.may_end_at(now):
            raise WrongState(f"lease {self.id} may still be minted until its mint window closes")
        return replace(self, state=LeaseState.ENDED, ended_at=now, last_error="")

    def waits(self) -> Waits:
        """What stands between this credential, if it is not dead, and its end."""
        if self.state is not LeaseState.ENDING:
            return Waits.OPEN
        if self.lives_until and self.retry_at == self.lives_until:
            return Waits.ITSELF
        if not self.minted_at and self.retry_at == self.mint_until:
            return Waits.MINT
        return Waits.RETRY if self.attempts and self.last_error else Waits.KILL

    def due_at(self, now: int) -> bool:
        """Something is to be done about it now, whatever its task says."""
        if self.state is LeaseState.ENDING:
            return now >= self.retry_at
        expired = now >= self.expires_at or (self.state is LeaseState.RESERVED and now >= self.mint_until)
        return self.state is not LeaseState.ENDED and expired

    def _needs(self, *states: LeaseState) -> None:
        if self.state not in states:
            raise WrongState(f"lease {self.id} is {self.state.value}")


@dataclass(frozen=True, slots=True)
class Waiting:
    """`count` credentials of one issuer that wait for the same; the last of them at `at` (ms, 0: at any moment)."""

    issuer: str
    waits: Waits
    count: int
    at: int
    why: str


def alive(leases: Iterable[Lease]) -> tuple[Waiting, ...]:
    """What is not confirmed dead, by issuer and by what it waits for; `why` is the newest failure's."""
    found: dict[tuple[str, Waits], Waiting] = {}
    for lease in leases:
        if lease.state is LeaseState.ENDED:
            continue
        waits = lease.waits()
        at = {Waits.OPEN: lease.expires_at, Waits.KILL: 0}.get(waits, lease.retry_at)
        old = found.get((lease.issuer, waits)) or Waiting(lease.issuer, waits, 0, 0, "")
        why = lease.last_error or old.why
        found[(lease.issuer, waits)] = Waiting(lease.issuer, waits, old.count + 1, max(old.at, at), why)
    return tuple(sorted(found.values(), key=lambda one: (one.issuer, one.waits.value)))


@dataclass(frozen=True, slots=True)
class IssuerOutage:
    """Row: the newest time that an issuer confirmed no kill for long; `over_at` 0 means it lasts (ms)."""

    issuer: str
    since: int
    over_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.issuer


@dataclass(frozen=True, slots=True)
class Minted:
    """What an issuer hands over: named secret parts (`user`, `password`, …), which never appear in a repr (law 10).

    `reference` is kept with the lease for the kill: an accessor, or something sealed. `ends_at` (ms; 0: with the lease)
    is when its issuer lets it die.
    """

    parts: Mapping[str, str] = field(repr=False)
    reference: str = field(default="", repr=False)
    ends_at: int = 0

    def __str__(self) -> str:
        return "<minted credential>"
