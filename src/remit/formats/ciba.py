"""OpenID Connect Client-Initiated Backchannel Authentication, Core 1.0, poll mode, as a client speaks it.

A ping or a push is never waited for: a message that comes to us approves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from remit.domain.errors import Refusal

from . import json_input, oidc
from .claims import LEEWAY_MS, instant
from .jws import bad
from .rfc6749 import TokenRefused, error_of

GRANT = "urn:openid:params:grant-type:ciba"
REQUEST_CLAIM = "urn:openid:params:jwt:claim:auth_req_id"
INTERVAL, LONGEST_INTERVAL = 5, 300  # seconds; section 7.3
ID_LIMIT = 1024
_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An authentication request (section 7.1): whom, what both sides show, and how long (seconds)."""

    login_hint: str
    binding_message: str
    requested_expiry: int


@dataclass(frozen=True, slots=True)
class Taken:
    """The provider asks the person (section 7.3). Seconds."""

    auth_req_id: str = field(repr=False)
    expires_in: int
    interval: int


class Outcome(Enum):
    """What a poll found when there is no token (section 11)."""

    PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    EXPIRED = "expired_token"
    DENIED = "access_denied"


@dataclass(frozen=True, slots=True)
class Said:
    """The person's answer: verified claims and the SHA-256 of the ID token for a yes, nothing of either for a no."""

    yes: bool
    claims: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""


def polled(document: Mapping[str, Any]) -> bool:
    """Whether these metadata announce what we speak (section 4)."""
    modes = document.get("backchannel_token_delivery_modes_supported")
    return isinstance(modes, list) and "poll" in modes


def request(wanted: Wanted, scopes: tuple[str, ...]) -> dict[str, str]:
    """The fields of an authentication request, without those that prove the client (section 7.1)."""
    return {
        "scope": " ".join(scopes),
        "login_hint": wanted.login_hint,
        "binding_message": wanted.binding_message,
        "requested_expiry": str(wanted.requested_expiry),
    }


def token_request(auth_req_id: str) -> dict[str, str]:
    """The fields of a poll (section 10.1)."""
    return {"grant_type": GRANT, "auth_req_id": auth_req_id}


def taken(status: int, body: bytes) -> Taken | None:
    """The acknowledgement (section 7.3); None when it cannot be told what became of the request.

    `TokenRefused` when the provider refused it (section 13): then nobody was asked.
    """
    if status != 200:
        _refused(status, body)
        return None
    document = _object(body)
    id_, interval = document.get("auth_req_id"), document.get("interval", INTERVAL)
    if not isinstance(id_, str) or not 0 < len(id_) <= ID_LIMIT or not _ID.issuperset(id_):
        return None
    lasts = document.get("expires_in")
    if type(lasts) is not int or type(interval) is not int or lasts <= 0 or not 0 < interval <= LONGEST_INTERVAL:
        return None
    return Taken(id_, lasts, interval)


def token(status: int, body: bytes) -> str | Outcome | None:
    """The ID token of a successful answer (section 10.1.1), or why there is none; None when nothing can be told.

    `TokenRefused` when there will never be one.
    """
    if status == 200:
        found = _object(body).get("id_token")
        if not isinstance(found, str):
            raise TokenRefused("no ID token")
        return found
    try:
        _refused(status, body)
    except TokenRefused as refused:
        if refused.word not in {one.value for one in Outcome}:
            raise
        return Outcome(refused.word)
    return None


def _refused(status: int, body: bytes) -> None:
    """Raise what the provider says is wrong; what is only its trouble, or a redirect, says nothing."""
    if 400 <= status < 500 and status != 429 and error_of(body):
        raise TokenRefused(error_of(body))


def check(claims: Mapping[str, Any], *, client_id: str, auth_req_id: str, since: int) -> None:
    """What an ID token must say besides: issued to us, after this request, and for no other one (section 10.1.1).

    `since` in ms; clocks may differ by the usual leeway.
    """
    oidc.check_party(claims, client_id)
    if claims.get(REQUEST_CLAIM, auth_req_id) != auth_req_id:
        raise bad("auth_req_id is not the one of this request")
    for name in ("iat", "auth_time") if "auth_time" in claims else ("iat",):
        if instant(claims, name) < since - LEEWAY_MS:
            raise bad(f"{name} is before the request")


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        document = json_input.parse(body, limit=len(body))
    except Refusal:
        return {}
    return document if isinstance(document, Mapping) else {}
