"""Tokens of federated OpenID Connect issuers (OpenID Connect Core section 3.1.3.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .claims import check_audience, check_issuer, check_lifetime, text
from .jwk import PublicKey
from .jws import bad, peek, verify


def parse(token: str, *, issuer: str, audience: str, keys: Sequence[PublicKey], now: int) -> dict[str, Any]:
    """Verified claims, with `iss`, `aud`, `exp` and `sub` checked."""
    claims = verify(peek(token), keys, typ=("", "jwt"))
    check_issuer(claims, issuer)
    check_audience(claims, audience)
    check_lifetime(claims, now)
    text(claims, "sub")
    return claims


def check_signed_in(claims: Mapping[str, Any], *, client_id: str, nonce: str) -> None:
    """What an ID token must say besides: it answers this very request, and was issued to us (section 3.1.3.7)."""
    if claims.get("nonce") != nonce:
        raise bad("nonce is not the one of this sign-in")
    check_party(claims, client_id)


def check_party(claims: Mapping[str, Any], client_id: str) -> None:
    """Raise `BadToken` for a token that was issued to another client, or to several."""
    several = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else client_id) != client_id:
        raise bad("azp is not this client")


def claimed_issuer(token: str) -> str:
    """The `iss` a token names, unverified: whom to ask for keys."""
    return text(peek(token).claims(), "iss")
