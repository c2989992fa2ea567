"""Who proved what, who may act, and who may ask."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JoinTokenCreated:
    """An operator allowed one key to be bound to an agent."""

    agent: str
    token: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class AgentProved:
    """Evidence bound a key to an agent."""

    agent: str
    method: str
    jkt: str
    spiffe_id: str
    evidence: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class SvidIssued:
    """A workload on this host was given a SPIFFE identity document. `serial` names it: hex, or a token's digest."""

    agent: str
    spiffe_id: str
    kind: str
    serial: str
    rule: str
    code: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class IdentitySuperseded:
    """Other code proved itself to be this agent: what this key proved counts no more. Codes are hex digests."""

    agent: str
    jkt: str
    code: str
    by: str


@dataclass(frozen=True, slots=True)
class AccessKeyCreated:
    """A bearer key was made for a person, operator, auditor or enforcement point."""

    kind: str
    name: str
    digest: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class AccessKeyEnded:
    """A bearer key is good no more, before its time."""

    kind: str
    name: str
    digest: str
    reason: str
