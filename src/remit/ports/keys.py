"""Private keys and the root key; nothing else ever sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Signature:
    """Raw signature bytes by the key `kid` under `algorithm` (`ES256`: r‖s, `EdDSA`: RFC 8032)."""

    kid: str
    algorithm: str
    value: bytes


class Signer(Protocol):
    """Holds the private keys in memory; nothing else ever sees them. Uses are named in `domain.keys`."""

    def signing(self, use: str) -> str:
        """The kid of the one key of this use that signs now: what to name in what is signed."""
        ...

    def sign(self, use: str, data: bytes, kid: str) -> Signature:
        """Sign with this key. One that has been destroyed is `Unavailable`; ask `signing` again."""
        ...

    def public(self, use: str) -> Sequence[Mapping[str, str]]:
        """Public JWKs of everything that verifies, newest first: the next, the current, and those retiring."""
        ...

    async def refresh(self, *, knows: str = "") -> None:
        """Read the keys again: other processes rotate them too. With `knows`, only if that kid is not known yet."""
        ...


class Sealer(Protocol):
    """Envelope encryption under the root key; `context` binds a sealed value to its row."""

    @property
    def replacing(self) -> bool:
        """Whether a previous root key is still at hand."""
        ...

    def seal(self, plaintext: bytes, context: bytes) -> str: ...

    def unseal(self, envelope: str, context: bytes) -> bytes: ...

    def derive(self, context: bytes) -> bytes:
        """A key (32 bytes) of this context alone, the same each time under one root key."""
        ...

    def rewrap(self, envelope: str) -> str:
        """The same envelope under the root key, were it under the previous one; `BadToken` if under neither."""
        ...
