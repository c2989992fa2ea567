"""Registered claims checked one way everywhere (RFC 7519 section 4.1). Seconds in tokens, ms outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .jws import bad

LEEWAY_MS = 5_000
TEXT_LIMIT = 2_048


def text(claims: Mapping[str, Any], name: str, *, limit: int = TEXT_LIMIT) -> str:
    """A required non-empty text claim."""
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise bad(f"claim {name} is missing or not text")
    return value


def instant(claims: Mapping[str, Any], name: str) -> int:
    """A required NumericDate, as ms."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise bad(f"claim {name} is missing or not a date")
    return int(value * 1000)


def check_lifetime(claims: Mapping[str, Any], now: int, *, leeway: int = LEEWAY_MS) -> int:
    """Check `exp`, and `nbf` and `iat` where present; returns `exp` in ms."""
    expires_at = instant(claims, "exp")
    if now >= expires_at + leeway:
        raise bad("expired")
    for name in ("nbf", "iat"):
        if name in claims and instant(claims, name) > now + leeway:
            raise bad(f"{name} is in the future")
    return expires_at


def check_audience(claims: Mapping[str, Any], audience: str) -> None:
    """`aud` must be exactly this one, alone or as a list of one: a token for two parties is for neither."""
    said = claims.get("aud")
    if said != audience and said != [audience]:
        raise bad(f"aud is not exactly {audience}")


def check_issuer(claims: Mapping[str, Any], issuer: str) -> None:
    """`iss` byte for byte."""
    if claims.get("iss") != issuer:
        raise bad(f"iss is not {issuer}")
