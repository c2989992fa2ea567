"""Signing keys as rows: the private half is sealed, the public half is for everybody."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Row. `use` is `token` (ES256) or `log` (Ed25519); `sealed` is the private key under an envelope."""

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
