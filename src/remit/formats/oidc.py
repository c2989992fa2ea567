"""Tokens of federated OpenID Connect issuers (OpenID Connect Core section 3.1.3.7)."""

from __future__ import annotations

from collections.abc import Sequence
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
