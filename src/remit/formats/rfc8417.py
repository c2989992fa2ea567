"""Security Event Tokens (RFC 8417) as Shared Signals has them: typed, one event, `sub_id`, no `sub`, no `exp`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from remit.domain.errors import BadSignal, BadToken
from remit.domain.signal import LATE, SecurityEvent

from .claims import check_issuer, instant, text
from .jwk import PublicKey
from .jws import SigningKey, UnverifiedToken, peek, sign, verify

TYP = "secevent+jwt"
MEDIA = "application/secevent+jwt"
MOST_AUDIENCES = 100


def claimed_key(token: str) -> str:
    """The `kid` a token names, unverified."""
    return _read(token).kid


def parse(token: str, *, issuer: str, audience: str, keys: Sequence[PublicKey], now: int) -> SecurityEvent:
    """Verify it; every flaw is a `BadSignal` in the words of RFC 8935 section 2.4."""
    unverified = _read(token)
    said = unverified.header.get("typ")
    if not isinstance(said, str) or said.lower().removeprefix("application/") != TYP:
        raise BadSignal("invalid_request", f"typ must be {TYP}")
    try:
        claims = verify(unverified, keys, typ=(TYP,))
    except BadToken as bad:
        raise BadSignal("invalid_key", "no key of this transmitter signed it", inside=bad.inside) from bad
    try:
        check_issuer(claims, issuer)
    except BadToken as bad:
        raise BadSignal("invalid_issuer", "another issuer", inside=bad.inside) from bad
    _check_audience(claims.get("aud"), audience)
    try:
        return _event(claims, now)
    except BadToken as bad:
        raise BadSignal("invalid_request", bad.inside) from bad


def _read(token: str) -> UnverifiedToken:
    try:
        return peek(token)
    except BadToken as bad:
        raise BadSignal("invalid_request", "not a signed token", inside=bad.inside) from bad


def _check_audience(said: object, audience: str) -> None:
    """We may be one of several names of one receiver (Shared Signals 1.0, section 4.1.8)."""
    named = said if isinstance(said, list) else [said]
    if audience not in named or len(named) > MOST_AUDIENCES or not all(isinstance(one, str) for one in named):
        raise BadSignal("invalid_audience", "for another audience")


def _event(claims: Mapping[str, Any], now: int) -> SecurityEvent:
    for name in ("sub", "exp"):
        if name in claims:
            raise BadSignal("invalid_request", f"{name} must not be there")
    found, subject, issued_at = claims.get("events"), claims.get("sub_id"), instant(claims, "iat")
    if not isinstance(found, Mapping) or len(found) != 1:
        raise BadSignal("invalid_request", "events must have one event")
    if not isinstance(subject, Mapping):
        raise BadSignal("invalid_request", "sub_id must say whom it is about")
    if issued_at > now + LATE:
        raise BadSignal("invalid_request", "iat is in the future")
    ((kind, details),) = found.items()
    if not isinstance(details, Mapping) or len(kind) > 512:
        raise BadSignal("invalid_request", "the event must be an object")
    jti = text(claims, "jti", limit=256)
    if not jti.isprintable():
        raise BadSignal("invalid_request", "jti has control characters")
    return SecurityEvent(jti, issued_at, kind, subject, details)


def encode(said: SecurityEvent, *, issuer: str, audience: str, txn: str, key: SigningKey) -> str:
    """Serialize and sign one event for one audience."""
    claims = {
        "iss": issuer,
        "aud": audience,
        "iat": said.issued_at // 1000,
        "jti": said.jti,
        "txn": txn,
        "sub_id": said.subject,
        "events": {said.kind: said.details},
    }
    return sign(msgspec.json.encode(claims), typ=TYP, key=key)
