"""JWT-SVIDs and trust bundles (SPIFFE: JWT-SVID, SPIFFE Trust Domain and Bundle).

A bundle is one trust domain's keys, and is never merged with another's. No keys at all means that everything
of that domain is revoked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from remit.domain.errors import BadField, BadToken
from remit.domain.identity import SpiffeId

from . import json_input, jwk, x509_svid
from .claims import check_audience, check_lifetime, instant, text
from .jws import SigningKey, bad, peek, sign, verify

ALGORITHMS = tuple(f"{family}{size}" for family in ("RS", "ES", "PS") for size in (256, 384, 512))
REFRESH_HINT = 300
BUNDLE_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """Keys of one trust domain. `authorities` are DER certificates; `refresh_hint` is in seconds."""

    trust_domain: str
    jwt_keys: tuple[jwk.PublicKey, ...] = ()
    authorities: tuple[bytes, ...] = ()
    sequence: int = 0
    refresh_hint: int = REFRESH_HINT


@dataclass(frozen=True, slots=True)
class JwtSvid:
    """A verified JWT-SVID. Instants in ms; `issued_at` 0 when it does not say. `of` as in X.509-SVIDs."""

    id: SpiffeId
    issued_at: int
    expires_at: int
    of: x509_svid.Proof


def parse_bundle(trust_domain: str, document: bytes) -> TrustBundle:
    """Read a bundle; entries of a kind or use that is not known are ignored, flawed ones too (section 4.2)."""
    content = json_input.parse(document, limit=BUNDLE_LIMIT)
    keys = content.get("keys") if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or not isinstance(keys, list) or len(keys) > 100:
        raise BadToken("The trust bundle is not valid.", inside=f"{trust_domain}: not a JWK set")
    jwt_keys, authorities = [], []
    for entry in keys:
        if not isinstance(entry, Mapping):
            continue
        try:
            if entry.get("use") == "jwt-svid" and entry.get("kid"):
                jwt_keys.append(jwk.parse({name: value for name, value in entry.items() if name != "use"}))
            elif entry.get("use") == "x509-svid":
                authorities.append(_authority(entry))
        except BadToken:
            continue
    sequence, hint = content.get("spiffe_sequence", 0), content.get("spiffe_refresh_hint", REFRESH_HINT)
    return TrustBundle(
        trust_domain,
        tuple(jwt_keys),
        tuple(authorities),
        sequence if isinstance(sequence, int) and 0 <= sequence < 2**64 else 0,
        min(max(hint, 1), 86_400) if isinstance(hint, int) else REFRESH_HINT,
    )


def _authority(entry: Mapping[str, Any]) -> bytes:
    # Section 4.2.2: consumers take the first certificate of `x5c` and no other.
    chain = entry.get("x5c")
    if not isinstance(chain, list) or not chain or not isinstance(chain[0], str):
        raise BadToken("The key is not acceptable.", inside="no x5c")
    try:
        der = base64.b64decode(chain[0], validate=True)
    except ValueError as flaw:
        raise BadToken("The key is not acceptable.", inside="x5c is not base64") from flaw
    x509_svid.check_authority(der)
    return der


def encode_bundle(bundle: TrustBundle) -> dict[str, Any]:
    """The bundle as a JWK set; also what JWT bundles of the Workload API hold."""
    jwt_keys = [{**key.jwk, "kid": key.kid, "use": "jwt-svid"} for key in bundle.jwt_keys]
    x509_keys = [
        {**x509_svid.public_jwk(der), "use": "x509-svid", "x5c": [base64.b64encode(der).decode()]}
        for der in bundle.authorities
    ]
    return {
        "keys": [*x509_keys, *jwt_keys],
        "spiffe_sequence": bundle.sequence,
        "spiffe_refresh_hint": bundle.refresh_hint,
    }


def encode_jwt_svid(svid: JwtSvid, audience: Sequence[str], jti: str, key: SigningKey) -> str:
    """Sign one (JWT-SVID section 3). `jti` makes it one of its kind: whoever takes single use can count."""
    claims = {
        "jti": jti,
        "sub": str(svid.id),
        "aud": list(audience),
        "iat": svid.issued_at // 1000,
        "exp": svid.expires_at // 1000,
        "remit_rule": svid.of.rule,
        "remit_code": svid.of.code,
    }
    return sign(json.dumps(claims).encode(), typ="JWT", key=key)


def claimed_id(token: str) -> SpiffeId:
    """The `sub` a token names, unverified: whose bundle to use."""
    return _id(text(peek(token).claims(), "sub"))


def claimed_key(token: str) -> str:
    """The `kid` a token names, unverified."""
    return peek(token).kid


def claims_of(token: str) -> dict[str, Any]:
    """Every claim of a token that has been verified."""
    return peek(token).claims()


def parse_jwt_svid(token: str, *, bundle: TrustBundle, audience: str, now: int, alone: bool = True) -> JwtSvid:
    """Verify with the bundle of its own trust domain (JWT-SVID sections 2, 3 and 5).

    The audience must be exactly this one; unless `alone`, there may be others beside it.
    """
    unverified = peek(token)
    if unverified.header.keys() - {"alg", "kid", "typ"}:
        raise bad("a header that JWT-SVIDs do not have")
    if not unverified.kid or unverified.header.get("alg") not in ALGORITHMS:
        raise bad("no kid, or an alg that JWT-SVIDs do not have")
    claims = verify(unverified, bundle.jwt_keys, typ=("", "jwt", "jose"))
    id = _id(text(claims, "sub"))
    if id.trust_domain != bundle.trust_domain:
        raise bad("an ID of another trust domain")
    said = claims.get("aud")
    if alone or not isinstance(said, list) or audience not in said:
        check_audience(claims, audience)
    expires_at = check_lifetime(claims, now)
    issued_at = instant(claims, "iat") if "iat" in claims else 0
    rule, code = (
        said if isinstance(said, str) else "" for said in (claims.get("remit_rule"), claims.get("remit_code"))
    )
    return JwtSvid(id, issued_at, expires_at, x509_svid.Proof(rule, code))


def _id(said: str) -> SpiffeId:
    try:
        id = SpiffeId.parse(said)
    except BadField as flaw:
        raise bad(flaw.message) from flaw
    if not id.path:
        raise bad("a trust domain, not a workload")
    return id
