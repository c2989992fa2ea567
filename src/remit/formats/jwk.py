"""Public keys as JWK (RFC 7517, RFC 8037), their thumbprints (RFC 7638), and key sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from remit.domain.errors import BadToken

from . import base64url

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# What each kind of key may sign with; the key decides, never the token.
_ALGORITHMS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
    ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
}
_MEMBERS: Mapping[str, tuple[str, ...]] = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("n", "e")}
_Key: TypeAlias = ECKey | OKPKey | RSAKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures. `jwk` holds the required members only; `algorithms` are all it may sign with."""

    kid: str
    thumbprint: str
    algorithms: tuple[str, ...]
    jwk: Mapping[str, str]
    key: _Key


def parse(jwk: Any) -> PublicKey:
    """Parse one public JWK; private members, weak RSA, wrong `use`, `key_ops` or `alg` raise `BadToken`."""
    if not isinstance(jwk, Mapping) or len(jwk) > 20:
        raise _bad("not a JWK")
    if all(isinstance(value, str) for value in jwk.values()):
        return _known(tuple(sorted(jwk.items())))  # an agent shows the same key in every proof
    return _parse(jwk)


@lru_cache(maxsize=4096)
def _known(members: tuple[tuple[str, str], ...]) -> PublicKey:
    return _parse(dict(members))


def _parse(jwk: Mapping[str, Any]) -> PublicKey:
    kty, crv = jwk.get("kty"), jwk.get("crv", "")
    if not isinstance(kty, str) or not isinstance(crv, str):
        raise _bad("kty or crv is not text")
    if _PRIVATE & jwk.keys():
        raise _bad("a private or symmetric key")
    allowed = _ALGORITHMS.get((kty, "" if kty == "RSA" else crv))
    if allowed is None:
        raise _bad("a kind of key that is not accepted")
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        raise _bad("a key that is not for signatures")
    if "alg" in jwk:
        allowed = tuple(a for a in allowed if a == jwk["alg"])
        if not allowed:
            raise _bad("a key whose algorithm does not fit it")
    members: dict[str, Any] = {"kty": kty, **{name: jwk.get(name) for name in _MEMBERS[kty]}}
    for name, value in members.items():
        if not isinstance(value, str) or len(value) > 1400:
            raise _bad(f"member {name} is missing or not text")
        if name not in ("kty", "crv"):
            base64url.decode(value)
    key = _import(kty, members)
    if isinstance(key, RSAKey) and not 2048 <= key.public_key.key_size <= 8192:
        raise _bad("an RSA key that is not 2048 to 8192 bits")
    kid = jwk.get("kid", "")
    if not isinstance(kid, str) or len(kid) > 256:
        raise _bad("kid is not text of at most 256 characters")
    return PublicKey(kid, key.thumbprint(), allowed, members, key)


def parse_set(document: Any) -> tuple[PublicKey, ...]:
    """Parse a JWK Set; entries of unknown kind or use are ignored (RFC 7517 section 5), at most 100 are read."""
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list) or len(keys) > 100:
        raise _bad("not a JWK set")
    found: list[PublicKey] = []
    for entry in keys:
        try:
            found.append(parse(entry))
        except BadToken:
            continue
    return tuple(found)


def choose(keys: Sequence[PublicKey], kid: str) -> PublicKey:
    """The key of exactly this `kid`; without one, the only key there is."""
    found = [key for key in keys if key.kid == kid] if kid else list(keys)
    if len(found) != 1:
        raise _bad("no key of this kid" if kid else "no kid and more than one key")
    return found[0]


def _import(kty: str, members: Mapping[str, Any]) -> _Key:
    kinds: Mapping[str, type[_Key]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
    try:
        key = kinds[kty].import_key(dict(members))
        _ = key.public_key  # forces the point and the modulus to be checked
    except (JoseError, ValueError, TypeError) as bad:
        raise _bad(f"not a valid key: {type(bad).__name__}") from bad
    return key


def _bad(inside: str) -> BadToken:
    return BadToken("The key is not acceptable.", inside=inside)
