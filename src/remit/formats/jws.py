"""Compact JWS (RFC 7515), strictly: the algorithm is pinned by the key, never taken from the header.

Refused before any cryptography: `none`, HMAC, `crit`, `b64`, keys and key addresses in the header
(`jwk` only where DPoP wants it), duplicate members, padding, stray bits, wrong `typ` (RFC 8725 section 3).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jws as jose
from joserfc.errors import JoseError

from remit.domain.errors import BadToken, Refusal

from . import base64url, json_input, jwk

TOKEN_LIMIT = 16_384
_REFUSED_HEADERS = ("crit", "b64", "jku", "x5u", "x5c", "zip", "enc")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The name and algorithm of a private key somebody else holds, and how to ask it for a raw signature."""

    kid: str
    algorithm: str
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token that nobody has verified: good for choosing whom to ask, and for nothing else."""

    header: dict[str, Any]
    payload: bytes
    text: str

    @property
    def kid(self) -> str:
        """The key it claims; empty when it names none."""
        kid = self.header.get("kid", "")
        if not isinstance(kid, str):
            raise bad("kid is not text")
        return kid

    def claims(self) -> dict[str, Any]:
        """The unverified claims."""
        return _object(self.payload, "claims")


def peek(text: str, *, embedded_key: bool = False) -> UnverifiedToken:
    """Split and check the header; verifies nothing."""
    if len(text) > TOKEN_LIMIT:
        raise bad("too long")
    parts = text.split(".")
    if len(parts) != 3 or not all(parts):
        raise bad("not three parts")
    header = _object(base64url.decode(parts[0]), "header")
    refused = [name for name in _REFUSED_HEADERS if name in header]
    if refused or ("jwk" in header) is not embedded_key:
        raise bad(f"header {refused or 'jwk'} is not allowed here")
    base64url.decode(parts[2])
    return UnverifiedToken(header, base64url.decode(parts[1]), text)


def verify(token: UnverifiedToken, keys: Sequence[jwk.PublicKey], *, typ: Sequence[str]) -> dict[str, Any]:
    """Return the claims if exactly the named key signed them and `typ` is one of those wanted.

    An empty string in `typ` accepts a token without one. `application/` prefixes are ignored (RFC 7515 4.1.9).
    """
    said = token.header.get("typ", "")
    if not isinstance(said, str) or said.lower().removeprefix("application/") not in typ:
        raise bad(f"typ {said!r} is not {' or '.join(typ)}")
    return _object(verify_payload(token, keys), "claims")


def verify_payload(token: UnverifiedToken, keys: Sequence[jwk.PublicKey]) -> bytes:
    """The payload, if exactly the named key signed it with an algorithm of its own."""
    key = jwk.choose(keys, token.kid)
    algorithm = token.header.get("alg")
    if algorithm not in key.algorithms:
        raise bad(f"alg {algorithm!r} does not fit the key")
    try:
        jose.deserialize_compact(token.text, key.key, algorithms=[algorithm])
    except (JoseError, ValueError, TypeError) as error:
        raise bad(f"signature: {type(error).__name__}") from error
    return token.payload


def sign(claims: bytes, *, typ: str, key: SigningKey, extra: dict[str, Any] | None = None) -> str:
    """Serialize claims under a header that names the key and its algorithm."""
    header = {"alg": key.algorithm, "typ": typ, **({"kid": key.kid} if key.kid else {}), **(extra or {})}
    signing_input = base64url.encode(json.dumps(header).encode()) + "." + base64url.encode(claims)
    return signing_input + "." + base64url.encode(key.sign(signing_input.encode()))


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json_input.parse(data, limit=TOKEN_LIMIT)
    except Refusal as refusal:
        raise bad(f"{what}: {refusal.message}") from refusal
    if not isinstance(value, dict):
        raise bad(f"{what} is not an object")
    return value


def bad(inside: str) -> BadToken:
    """One message for the caller, the flaw for the operator (law 11)."""
    return BadToken("The token is not valid.", next_step="Get a fresh one.", inside=inside)
