"""What a person agreed to for a client of theirs, and the code that stands for it until the client comes for it.

GIVEN ──► REDEEMED, once: its task is opened, or the code was not shown as it had to be and is void
  └─► over after a minute
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

CODE_LIFE = 60_000
BEARER_LIFE = 600_000


@dataclass(frozen=True, slots=True)
class Consent:
    """Row, keyed by the SHA-256 of the code, which is nowhere else.

    `rule` is the attestation that names the client, `document` the digest of the client's document: as both were
    when the person looked. `challenge` is PKCE's (RFC 7636, S256). `task` is the id that its one task will have.
    `duration`, and instants, in ms.
    """

    digest: str
    client: str
    agent: str
    rule: str
    document: str
    redirect_uri: str
    challenge: str
    resource: str
    person: str
    purpose: str
    purpose_revision: str
    credential: str
    goal: str
    task: str
    duration: int
    expires_at: int
    parameters: Mapping[str, str] = field(default_factory=dict)
    redeemed_at: int = 0
    replayed_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.digest

    @property
    def keyless(self) -> str:
        """What stands where a key's thumbprint would, when the client has none: no thumbprint has a colon."""
        return f"bearer:{self.task}"

    def redeemed(self, now: int) -> Consent:
        """Its code is good for nothing more."""
        return replace(self, redeemed_at=now)

    def replayed(self, now: int) -> Consent:
        """Somebody showed the code again: two have it, and one of them stole it."""
        return replace(self, replayed_at=now)


def has_key(jkt: str) -> bool:
    """Whether that is a key's thumbprint, and not what stands in its place."""
    return not jkt.startswith("bearer:")
