"""Signing keys as rows: the private half is sealed, the public half is for everybody."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Row. `sealed` holds the private key. `use` says what it signs, and nothing else is ever signed with it:

    `token` access tokens (ES256), `log` checkpoints (EdDSA), `federation` what clouds are shown (RS256:
    Azure promises no other), `svid` JWT-SVIDs (ES256), `authority` X.509-SVIDs (ES256),
    `x509` client certificates of tasks (ES256), `ssh` SSH certificates of tasks (ES256).
    """

    kid: str
    use: str
    algorithm: str
    public: str
    sealed: str
    created_at: int
    version: int = 0

    @property
    def key(self) -> str:
        return self.kid
