"""Signing keys as rows: the private half is sealed, the public half is for everybody."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Row. `use` is `token`, `svid`, `x509`, `ssh` (ES256) or `log` (EdDSA). `sealed` holds the private key."""

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
