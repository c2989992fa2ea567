"""Keys that are the same in every run: real cryptography, nothing drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from remit.formats import signing_key
from remit.ports import Signature


def fixed(number: int, algorithm: str = "ES256") -> signing_key.PrivateKey:
    """The key of this number."""
    key = (
        ed25519.Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))
        if algorithm == "EdDSA"
        else ec.derive_private_key(number, ec.SECP256R1())
    )
    return signing_key.load(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


class FixedSigner:
    """`ports.Signer` of every replica: one key for tokens, one for the log."""

    def __init__(self) -> None:
        self._keys = {"token": fixed(1001), "log": fixed(1002, "EdDSA")}

    def signing(self, use: str) -> str:
        return self._keys[use].public.kid

    def sign(self, use: str, data: bytes, kid: str) -> Signature:
        key = self._keys[use]
        return Signature(kid, key.algorithm, key.sign(data))

    def public(self, use: str) -> Sequence[Mapping[str, str]]:
        key = self._keys[use]
        return [{**key.public.jwk, "kid": key.public.kid, "alg": key.algorithm, "use": "sig"}]

    async def refresh(self, *, knows: str = "") -> None:
        """They never change."""
