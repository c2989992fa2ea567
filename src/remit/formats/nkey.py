"""NATS keys: Ed25519 keys that say what they are for (nkeys, as nats-io/nkeys writes them).

`base32(prefix ‖ key ‖ CRC-16/XMODEM, little-endian)` without padding. A seed has two prefixes in 13 bits: that it is
one, and of what. The letters in front show it: `U…` is a user, `SU…` its seed.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from remit.domain.errors import BadToken

OPERATOR, ACCOUNT, USER = "O", "A", "U"
_PREFIXES = {OPERATOR: 14 << 3, ACCOUNT: 0, USER: 20 << 3}
_SEED = 18 << 3
_PUBLIC = re.compile(r"[A-Z2-7]{56}\Z", re.ASCII)
_WRITTEN_SEED = re.compile(r"[A-Z2-7]{58}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Seed:
    """A private key: `kind` is the letter of what it is for, `public` its public half as NATS writes it."""

    kind: str
    public: str
    raw: bytes = field(repr=False)

    @classmethod
    def of(cls, kind: str, raw: bytes) -> Seed:
        """The key of these 32 secret bytes."""
        public = Ed25519PrivateKey.from_private_bytes(raw).public_key()
        return cls(kind, _written(bytes([_PREFIXES[kind]]) + public.public_bytes(Encoding.Raw, PublicFormat.Raw)), raw)

    @classmethod
    def parse(cls, text: str) -> Seed:
        """Read `S…`; anything else is `BadToken`, which does not repeat it."""
        data = _read(text, _WRITTEN_SEED)
        if data[0] & 0xF8 != _SEED:
            raise _bad("not a seed")
        prefix = (data[0] & 7) << 5 | data[1] >> 3
        kind = next((kind for kind, known in _PREFIXES.items() if known == prefix), "")
        if not kind or data[1] & 7:
            raise _bad("a seed of something else")
        return cls.of(kind, data[2:])

    def text(self) -> str:
        """`S…`, the secret itself."""
        prefix = _PREFIXES[self.kind]
        return _written(bytes([_SEED | prefix >> 5, prefix << 3 & 0xFF]) + self.raw)

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.raw).sign(data)


def is_public(text: object, kind: str) -> bool:
    """Whether it is a public key of this kind."""
    try:
        return isinstance(text, str) and _read(text, _PUBLIC)[0] == _PREFIXES[kind]
    except BadToken:
        return False


def verify(public: str, data: bytes, signature: bytes) -> None:
    """`BadToken` unless this key signed it."""
    try:
        Ed25519PublicKey.from_public_bytes(_read(public, _PUBLIC)[1:]).verify(signature, data)
    except (InvalidSignature, ValueError) as flaw:
        raise _bad("the signature is of something else") from flaw


def _written(data: bytes) -> str:
    checked = data + binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(checked).decode().rstrip("=")


def _read(text: str, shape: re.Pattern[str]) -> bytes:
    if not shape.match(text):
        raise _bad("not an nkey")
    whole = base64.b32decode(text + "=" * (-len(text) % 8))
    data, crc = whole[:-2], int.from_bytes(whole[-2:], "little")
    if binascii.crc_hqx(data, 0) != crc or _written(data) != text:
        raise _bad("an nkey with a letter wrong")
    return data


def _bad(inside: str) -> BadToken:
    return BadToken("The NATS key is not valid.", inside=inside)
