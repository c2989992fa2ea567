"""Tokens of federated OpenID Connect issuers (OpenID Connect Core section 3.1.3.7), and conditions on their claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .claims import check_audience, check_issuer, check_lifetime, text
from .jwk import PublicKey
from .jws import peek, verify


def parse(token: str, *, issuer: str, audience: str, keys: Sequence[PublicKey], now: int) -> dict[str, Any]:
    """Verified claims, with `iss`, `aud`, `exp` and `sub` checked."""
    claims = verify(peek(token), keys, typ=("", "jwt"))
    check_issuer(claims, issuer)
    check_audience(claims, audience)
    check_lifetime(claims, now)
    text(claims, "sub")
    return claims


def claimed_issuer(token: str) -> str:
    """The `iss` a token names, unverified: whom to ask for keys."""
    return text(peek(token).claims(), "iss")


def match_claims(conditions: Mapping[str, str], claims: Mapping[str, Any]) -> str:
    """Return the name of the first condition that fails; empty when all hold.

    A condition is the exact text of a claim; one trailing `*` matches any rest, but never nothing at all
    before it. An absent claim matches nothing, and no conditions at all match nobody.
    """
    if not conditions:
        return "(no conditions)"
    for name, wanted in conditions.items():
        value = claims.get(name)
        if not isinstance(value, str):
            return name
        prefix = wanted[:-1] if wanted.endswith("*") else None
        fits = value == wanted if prefix is None else bool(prefix) and value.startswith(prefix)
        if not fits:
            return name
    return ""
