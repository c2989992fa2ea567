"""What people agree to for clients of theirs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsentGiven:
    """A person let this client act as this agent, in one task, at this resource alone. `consent` is the code's digest.

    `document` is the digest of the client's own description, as the person was shown it.
    """

    consent: str
    client: str
    agent: str
    purpose: str
    resource: str
    task: str
    document: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class ConsentRedeemed:
    """The client came for what was agreed to. `flaw` says why it gets nothing; the code is void either way."""

    consent: str
    client: str
    task: str
    flaw: str


@dataclass(frozen=True, slots=True)
class ConsentReplayed:
    """The code was shown a second time: the task it opened is to end (RFC 6749 section 4.1.2)."""

    consent: str
    client: str
    task: str
