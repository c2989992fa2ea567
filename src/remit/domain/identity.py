"""Who exists, who answers for them, and what an attestation proved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeAlias

from .errors import BadField

Condition: TypeAlias = str | bool | int | Mapping[str, "Condition"]

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
    """One way this agent may prove itself. What `method` needs is set, the rest is empty.

    `oidc`: `federation`, and conditions on claims: the exact value each must have; one trailing `*` matches any rest,
    and a table is conditions on the claims inside an object. `aws`: the same, on what STS says of the caller.
    `spiffe`: the `spiffe_id` of another trust domain. `unix`: `selectors`, as SPIRE writes them, which must all hold.
    `client_attestation`: the `attester`, the `client` it must name, and which of its pinned keys (`key`, a thumbprint).
    `client_metadata`: the `client`, an address; the `gateways` it may have tokens for; `redirect_uris`, if not
    all that its document names; `bearer`, whether it may have a token without a key.
    `rule` is a digest of all that: an identity counts only while the rule that proved it is still written.
    """

    method: str
    federation: str = ""
    claims: Mapping[str, Condition] = field(default_factory=dict)
    spiffe_id: str = ""
    selectors: tuple[str, ...] = ()
    attester: str = ""
    client: str = ""
    key: str = ""
    rule: str = ""
    gateways: tuple[str, ...] = ()
    redirect_uris: tuple[str, ...] = ()
    bearer: bool = False
    allow_private_network: bool = False

    @property
    def kind(self) -> str:
        """How purposes and policies call it: `unix`, `spiffe:example.org`, `oidc:github`."""
        of = self.federation or self.attester or (SpiffeId.parse(self.spiffe_id).trust_domain if self.spiffe_id else "")
        return f"{self.method}:{of}" if of else self.method


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered non-human identity with exactly one accountable owner.

    `latest_only`: when other code proves itself to be this agent, what the code before it proved ends.
    `federates_with`: foreign trust domains whose bundles its workloads are given.
    `deputy` is asked first when the owner is not there, then `escalation`. `review_every` is in ms; 0: as the terms
    say.
    """

    name: str
    owner: str
    escalation: tuple[str, ...]
    tier: Tier
    title: str = ""
    attestations: tuple[Attestation, ...] = ()
    latest_only: bool = False
    federates_with: tuple[str, ...] = ()
    deputy: str = ""
    review_every: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may start tasks, answer for agents, or approve."""

    name: str
    groups: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Federation:
    """An OIDC issuer we believe, for one audience (OpenID Connect Discovery 1.0 section 4).

    `provider` is the platform it belongs to, of those whose claims are known; empty for any other.
    """

    name: str
    issuer: str
    audience: str
    jwks_uri: str = ""
    allow_private_network: bool = False
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Attester:
    """Whose word we take that a client instance is genuine: by `keys` (a JWK set as JSON), or those at `jwks_uri`.

    `issuer`, unless empty, is the `iss` its attestations must have; the draft wants none.
    """

    name: str
    issuer: str = ""
    keys: str = ""
    jwks_uri: str = ""
    allow_private_network: bool = False


@dataclass(frozen=True, slots=True)
class TrustDomain:
    """A foreign SPIFFE trust domain, and where its bundle is (SPIFFE Federation section 5).

    `profile` is `https_web` or `https_spiffe`; the second has `endpoint_id` and `bootstrap`, a first bundle as JSON.
    """

    name: str
    bundle_url: str
    profile: str
    endpoint_id: str = ""
    bootstrap: str = ""
    allow_private_network: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Row: an agent's key and the evidence that bound it. Keyed by `jkt`, the key's RFC 7638 thumbprint.

    `rule` names the attestation that was satisfied, `code` what code ran, as far as the evidence tells (an executable's
    hash, a workflow's revision); `proved_at` is when the evidence was made, not when it was shown.
    """

    jkt: str
    agent: str
    spiffe_id: str
    method: str
    evidence: str
    jwk: Mapping[str, str]
    proved_at: int
    expires_at: int
    rule: str = ""
    code: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.jkt

    def renewed(self, now: int) -> Identity:
        """As if the same were proved again now."""
        return replace(self, proved_at=now, expires_at=max(now + 1, self.expires_at))

    def superseded(self, now: int) -> Identity:
        """Other code took its place."""
        return replace(self, expires_at=min(self.expires_at, now))


def stale(identity: Identity | None, agent: Agent, now: int, *, max_age: int = 0, kinds: tuple[str, ...] = ()) -> str:
    """Why this proof does not count now; empty when it does. `max_age` (ms) and `kinds` are what a purpose demands."""
    if identity is None or identity.agent != agent.name:
        return "This key proves no agent; attest again."
    if now >= identity.expires_at or (max_age and now - identity.proved_at > max_age):
        return "The proof of identity is too old; attest again."
    if all(identity.rule != rule.rule for rule in agent.attestations):
        return "The rule that this identity was proved by has changed; attest again."
    if kinds and identity.method not in kinds and identity.method.partition(":")[0] not in kinds:
        return f"This purpose wants a proof by {' or '.join(kinds)}; this one is by {identity.method}."
    return ""


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
