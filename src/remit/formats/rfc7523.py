"""JWT client assertions (RFC 7523 section 3): a client proves itself by signing with its own key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from .claims import check_audience, check_lifetime, text
from .jwk import PublicKey
from .jws import SigningKey, bad, peek, sign, verify

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_LIFETIME_MS = 300_000


@dataclass(frozen=True, slots=True)
class Assertion:
    """`client` is both `iss` and `sub`. The caller must spend `jti` once, until `expires_at` (ms)."""

    client: str
    jti: str
    expires_at: int


def claimed_key(assertion: str) -> str:
    """The `kid` an assertion names, unverified: whose key to fetch."""
    return peek(assertion).kid


def claimed_client(assertion: str) -> str:
    """The client an assertion names, unverified; empty when it names none."""
    try:
        claims = json.loads(peek(assertion).payload)
    except (ValueError, RecursionError):
        return ""
    client = claims.get("iss") if isinstance(claims, dict) else None
    return client if isinstance(client, str) else ""


def parse(assertion: str, *, audience: str, keys: Sequence[PublicKey], now: int) -> Assertion:
    """Verify; the audience is the issuer URL alone, and a lifetime over five minutes is refused."""
    claims = verify(peek(assertion), keys, typ=("", "jwt", "client-authentication+jwt"))
    client = text(claims, "iss")
    if claims.get("sub") != client:
        raise bad("iss and sub differ")
    check_audience(claims, audience)
    expires_at = check_lifetime(claims, now)
    if expires_at > now + MAX_LIFETIME_MS:
        raise bad("good for more than five minutes")
    return Assertion(client, text(claims, "jti", limit=256), expires_at)


def encode(client: str, audience: str, jti: str, now: int, key: SigningKey) -> str:
    """Our own assertion, as the client of another server; good for a minute, at that server alone."""
    seconds = now // 1000
    claims = {"iss": client, "sub": client, "aud": audience, "jti": jti, "iat": seconds, "exp": seconds + 60}
    return sign(json.dumps(claims).encode(), typ="JWT", key=key)
