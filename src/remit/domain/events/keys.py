"""The keys Remit signs with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SigningKeyCreated:
    """A signing key was made and published; `kid` is its RFC 7638 thumbprint, `public` its JWK or vkey text."""

    use: str
    kid: str
    public: str
    signs_from: int


@dataclass(frozen=True, slots=True)
class SigningKeyPromoted:
    """This key signs from now on; the one before it verifies until `retire_at` (ms)."""

    use: str
    kid: str
    before: str
    retire_at: int


@dataclass(frozen=True, slots=True)
class SigningKeyRetired:
    """What this key signed is over: it is published no more, and its private half is destroyed."""

    use: str
    kid: str


@dataclass(frozen=True, slots=True)
class SigningKeyReplaced:
    """An operator had every older key of this use destroyed at once: what they signed is refused."""

    use: str
    kid: str
    public: str
    destroyed: tuple[str, ...]
    reason: str
