"""Who exists, who answers for them, and what an attestation proved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from .errors import BadField

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}\Z")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+\Z")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


def checked_name(field_name: str, text: str) -> str:
    """Return a catalogue name: 1–64 of `a-z 0-9 . _ -`, starting with a letter or a digit."""
    if not NAME.match(text):
        raise BadField(field_name, "use 1 to 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit")
    return text


class Tier(Enum):
    """How much a task of this agent may do before a person looks."""

    ASSISTANT = "assistant"
    AUTONOMOUS = "autonomous"


class StandingState(Enum):
    """Whether an agent may act at all."""

    ACTIVE = "active"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A SPIFFE ID (SPIFFE-ID section 2): trust domain lower-case, path case-sensitive, ≤ 2048 bytes."""

    trust_domain: str
    path: str

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Parse `spiffe://domain/path`; anything the standard forbids raises `BadField`."""
        if len(text.encode()) > 2048:
            raise BadField("spiffe_id", "longer than 2048 bytes")
        scheme, sep, rest = text.partition("://")
        if scheme.lower() != "spiffe" or not sep:
            raise BadField("spiffe_id", "must begin with spiffe://")
        domain, slash, path = rest.partition("/")
        domain = domain.lower()
        if not _TRUST_DOMAIN.match(domain):
            raise BadField("spiffe_id", "the trust domain may hold only a-z, 0-9, '.', '_' and '-'")
        if slash and not all(_SEGMENT.match(s) and s not in (".", "..") for s in path.split("/")):
            raise BadField("spiffe_id", "path segments may hold only letters, digits, '.', '_' and '-'")
        return cls(domain, slash + path)

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"


@dataclass(frozen=True, slots=True)
class Attestation:
    """One way this agent may prove itself: `method` and, for OIDC, the federation and claim conditions.

    A condition is the exact value a claim must have; one trailing `*` matches any rest.
    """

    method: str
    federation: str = ""
    claims: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered non-human identity with exactly one accountable owner."""

    name: str
    owner: str
    escalation: tuple[str, ...]
    tier: Tier
    title: str = ""
    attestations: tuple[Attestation, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may start tasks, answer for agents, or approve."""

    name: str
    groups: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Federation:
    """An OIDC issuer we believe, for one audience (OpenID Connect Discovery 1.0 section 4)."""

    name: str
    issuer: str
    audience: str
    jwks_uri: str = ""
    allow_private_network: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Row: whether an agent is active. No row means active and never frozen."""

    agent: str
    state: StandingState
    since: int
    reason: str
    version: int = 0

    @property
    def key(self) -> str:
        return self.agent


@dataclass(frozen=True, slots=True)
class Identity:
    """Row: an agent's key and the evidence that bound it. Keyed by `jkt`, the key's RFC 7638 thumbprint."""

    jkt: str
    agent: str
    spiffe_id: str
    method: str
    evidence: str
    jwk: Mapping[str, str]
    proved_at: int
    expires_at: int
    version: int = 0

    @property
    def key(self) -> str:
        return self.jkt


@dataclass(frozen=True, slots=True)
class JoinToken:
    """Row: a one-time right to bind a key to an agent. Keyed by the token's SHA-256; the token is nowhere."""

    digest: str
    agent: str
    expires_at: int
    used_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.digest
