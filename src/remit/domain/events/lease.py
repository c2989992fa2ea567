"""The life of a credential, and of the systems that end it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeaseReserved:
    """From now on a credential with this handle may exist."""

    lease: str
    task: str
    agent: str
    credential: str
    issuer: str
    handle: str
    expires_at: int
    policies: tuple[str, ...]
    chain: tuple[str, ...] = ()
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class LeaseMinted:
    """The issuer confirmed the credential."""

    lease: str
    task: str


@dataclass(frozen=True, slots=True)
class LeaseEnding:
    """The credential must die."""

    lease: str
    task: str
    reason: str


@dataclass(frozen=True, slots=True)
class LeaseKillFailed:
    """The issuer did not confirm the kill; it will be tried again."""

    lease: str
    task: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class LeaseKilledEarly:
    """Killed while a mint might still land; to be killed again when the mint window has closed."""

    lease: str
    task: str


@dataclass(frozen=True, slots=True)
class LeaseOutlives:
    """The credential cannot be taken back by anybody; it dies by itself at `until` (ms)."""

    lease: str
    task: str
    until: int


@dataclass(frozen=True, slots=True)
class IssuerDown:
    """The issuer confirms no kill since `since` (ms); `waiting` credentials are to die there."""

    issuer: str
    since: int
    waiting: int


@dataclass(frozen=True, slots=True)
class IssuerBack:
    """The issuer confirms kills again; `drained` of those that had waited are dead."""

    issuer: str
    since: int
    drained: int


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """The issuer confirmed that the credential is dead."""

    lease: str
    task: str
