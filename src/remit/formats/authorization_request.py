"""An authorization request as a server reads it (RFC 6749 section 4.1.1), with PKCE (RFC 7636), `resource` (RFC 8707)
and `authorization_details` (RFC 9396); and the answer, which names who gave it (RFC 9207).

Unknown parameters are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from remit.domain.errors import BadField, Refusal

from . import rfc9396

FIELDS = (
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "scope",
    "authorization_details",
    "response_mode",
    "prompt",
    "request",
    "request_uri",
)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z")


class Unanswerable(Exception):
    """The client asked for what it cannot have: `error` is for it, at its redirect address (section 4.1.2.1)."""

    def __init__(self, error: str, says: str) -> None:
        super().__init__(says)
        self.error = error
        self.says = says


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What counts of it. `scope` counts for nothing: what a task may do, the person chooses (law 8)."""

    challenge: str
    resource: str
    details: rfc9396.TaskDetails | None


def parse(asked: Mapping[str, str]) -> AuthorizationRequest:
    """Check all but the client and its address, which come before; raises `Unanswerable`."""
    if asked.get("request") or asked.get("request_uri"):
        word = "request_not_supported" if asked.get("request") else "request_uri_not_supported"
        raise Unanswerable(word, "write the request in the address")
    if asked.get("response_type") != "code":
        raise Unanswerable("unsupported_response_type", "response_type must be code")
    if asked.get("response_mode", "query") != "query":
        raise Unanswerable("invalid_request", "response_mode must be query")
    if asked.get("code_challenge_method") != "S256" or not _CHALLENGE.match(asked.get("code_challenge", "")):
        raise Unanswerable("invalid_request", "code_challenge is needed, with code_challenge_method S256")
    if not asked.get("resource"):
        raise Unanswerable("invalid_target", "resource is needed: the gateway that the token is for")
    if asked.get("prompt") == "none":
        raise Unanswerable("consent_required", "a person is asked every time")
    return AuthorizationRequest(asked["code_challenge"], asked["resource"], _details(asked))


def _details(asked: Mapping[str, str]) -> rfc9396.TaskDetails | None:
    if not asked.get("authorization_details"):
        return None
    try:
        details = rfc9396.parse(asked["authorization_details"]).asked
        if details.task:
            raise BadField("task", "cannot be continued here")
    except Refusal as refusal:
        raise Unanswerable("invalid_authorization_details", refusal.message) from refusal
    return details


def answered(redirect_uri: str, issuer: str, state: str | None, **said: str) -> str:
    """Where the browser goes with the answer: `state` exactly as it came, if it came."""
    given = {**said, **({} if state is None else {"state": state}), "iss": issuer}
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(given, quote_via=quote)}"
