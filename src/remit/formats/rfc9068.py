"""JWT access tokens (RFC 9068), bound to a key (`cnf.jkt`, RFC 9449 section 6.1), naming the task (`txn`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from . import token_status_list
from .claims import check_audience, check_issuer, check_lifetime, instant, text
from .jwk import PublicKey
from .jws import SigningKey, bad, peek, sign, verify


@dataclass(frozen=True, slots=True)
class AccessToken:
    """Times in ms. `task` is the `txn` claim, empty for a token that only says who an agent is.

    `actor` is the chain as nested `act` (RFC 8693 section 4.1), outermost first: history, never authority.
    `status` is its place in a status list (`list/index`); who gets it looks there, and we never do.
    """

    issuer: str
    subject: str
    audience: str
    client: str
    jti: str
    jkt: str
    issued_at: int
    expires_at: int
    task: str = ""
    scope: str = ""
    details: tuple[Mapping[str, Any], ...] = ()
    actor: tuple[str, ...] = ()
    status: str = ""


def claimed_key(token: str) -> str:
    """The `kid` a token names, unverified."""
    return peek(token).kid


def encode(token: AccessToken, key: SigningKey) -> str:
    """Serialize and sign."""
    claims: dict[str, Any] = {
        "iss": token.issuer,
        "sub": token.subject,
        "aud": token.audience,
        "client_id": token.client,
        "iat": token.issued_at // 1000,
        "exp": token.expires_at // 1000,
        "jti": token.jti,
    }
    if token.jkt:
        claims["cnf"] = {"jkt": token.jkt}
    if token.task:
        claims["txn"] = token.task
    if token.scope:
        claims["scope"] = token.scope
    if token.details:
        claims["authorization_details"] = list(token.details)
    if token.actor:
        claims["act"] = nested(token.actor)
    if token.status:
        claims["status"] = token_status_list.claim(token.issuer, token.status)
    return sign(msgspec.json.encode(claims), typ="at+jwt", key=key)


def parse(token: str, *, issuer: str, audience: str, keys: Sequence[PublicKey], now: int) -> AccessToken:
    """Verify everything RFC 9068 section 4 asks; any flaw is one `BadToken`."""
    claims = verify(peek(token), keys, typ=("at+jwt",))
    check_issuer(claims, issuer)
    check_audience(claims, audience)
    expires_at = check_lifetime(claims, now)
    return AccessToken(
        issuer,
        text(claims, "sub"),
        audience,
        text(claims, "client_id"),
        text(claims, "jti", limit=256),
        _jkt(claims),
        instant(claims, "iat"),
        expires_at,
        text(claims, "txn", limit=256) if "txn" in claims else "",
        text(claims, "scope") if "scope" in claims else "",
        _details(claims),
        actors(claims.get("act")),
    )


def _jkt(claims: Mapping[str, Any]) -> str:
    confirmation = claims.get("cnf", {})
    if not isinstance(confirmation, Mapping):
        raise bad("cnf is not an object")
    return text(confirmation, "jkt", limit=64) if confirmation else ""


def _details(claims: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    details = claims.get("authorization_details", [])
    if not isinstance(details, list) or not all(isinstance(d, Mapping) for d in details):
        raise bad("authorization_details is not a list of objects")
    return tuple(details)


def nested(actors: Sequence[str]) -> dict[str, Any]:
    """A chain as `act` (RFC 8693 section 4.1), who acts now first and outermost."""
    act: dict[str, Any] = {}
    for name in reversed(actors):
        act = {"sub": name, **({"act": act} if act else {})}
    return act


def actors(act: Any) -> tuple[str, ...]:
    """The chain in an `act` claim, who acts now first."""
    found: list[str] = []
    while act is not None:
        if not isinstance(act, Mapping) or len(found) > 16:
            raise bad("act is not a chain")
        found.append(text(act, "sub"))
        act = act.get("act")
    return tuple(found)
