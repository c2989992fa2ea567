"""OAuth 2.1 as a client speaks it: the authorization request and its answer, token requests and theirs.

Sections are of RFC 6749; PKCE is RFC 7636, resource indicators are RFC 8707, `iss` in the answer is RFC 9207.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec

from remit.domain.errors import BadField, Denied, Refusal

from . import base64url, json_input, oauth_url
from .rfc7523 import ASSERTION_TYPE
from .rfc8414 import BASIC, KEY, POST, AuthorizationServer
from .rfc9728 import scopes as scopes_of

_VISIBLE = re.compile(r"[\x21-\x7e]{1,8192}\Z")
_REDIRECT = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost):([1-9][0-9]{0,4})/[a-z/]{0,64}\Z")


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are at an authorization server. `method` is how we prove it (RFC 7591 section 2)."""

    id: str
    method: str
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An authorization that was begun: what its answer is checked against. Secret: it has the verifier.

    `scopes` are asked for, `offered` are what the resource says that it has.
    """

    server: AuthorizationServer
    client: Client
    resource: str
    redirect_uri: str
    scopes: tuple[str, ...]
    offered: tuple[str, ...]
    state: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """What is left of an authorization: where to refresh, as whom, and with what. Secret: it has the refresh token."""

    server: AuthorizationServer
    client: Client
    resource: str
    scopes: tuple[str, ...]
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """`expires_in` in seconds; 0 when it was not said."""

    access_token: str = field(repr=False)
    expires_in: int
    scopes: tuple[str, ...]
    refresh_token: str = field(default="", repr=False)


class TokenRefused(Exception):
    """The authorization server's error code (section 5.2); its own words are not repeated, they may quote a secret."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def kept(value: object) -> bytes:
    """An attempt or a grant as bytes, to be sealed."""
    return msgspec.json.encode(value)


def attempt(data: bytes) -> Attempt:
    """Read what `kept` wrote."""
    return msgspec.json.decode(data, type=Attempt)


def grant(data: bytes) -> Grant:
    """Read what `kept` wrote."""
    return msgspec.json.decode(data, type=Grant)


def checked_redirect(uri: str) -> str:
    """A native application's redirect: loopback, with a port (RFC 8252 section 7.3)."""
    match = _REDIRECT.match(uri)
    if match is None or int(match[2]) > 65_535:
        raise BadField("redirect_uri", "must be such as http://127.0.0.1:8400/callback")
    return uri


def authorization_url(of: Attempt) -> str:
    """Where a person is sent (section 4.1.1)."""
    asked = {
        "response_type": "code",
        "client_id": of.client.id,
        "redirect_uri": of.redirect_uri,
        "state": of.state,
        "code_challenge": base64url.encode(sha256(of.verifier.encode()).digest()),
        "code_challenge_method": "S256",
        "resource": of.resource,
    }
    if of.scopes:
        asked["scope"] = " ".join(of.scopes)
    if "offline_access" in of.scopes:
        asked["prompt"] = "consent"  # OpenID Connect Core section 11 gives no refresh token without
    endpoint = of.server.authorization_endpoint
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked, quote_via=quote)}"


def code_of(of: Attempt, redirected: str) -> str:
    """The code in the address that the person's browser was sent back to (section 4.1.2).

    `BadField` unless it is an answer to this very attempt, from the server that was asked (RFC 9207 section 2.4: a
    mix-up is refused before the code goes anywhere); `Denied` when the server or the person said no.
    """
    if len(redirected) > 8192 or redirected.partition("?")[0] != of.redirect_uri or "#" in redirected:
        raise BadField("redirected", f"must be the whole address, beginning with {of.redirect_uri}?")
    try:
        pairs = parse_qsl(redirected.partition("?")[2], strict_parsing=True, max_num_fields=30, errors="strict")
    except ValueError as bad:
        raise BadField("redirected", "cannot be read") from bad
    said = dict(pairs)
    if len(said) != len(pairs):
        raise BadField("redirected", "says something twice")
    if not hmac.compare_digest(said.get("state", "").encode(), of.state.encode()):
        raise BadField("state", "is not that of this attempt", next_step="Begin again; open only the newest address.")
    issuer = said.get("iss")
    if issuer != of.server.issuer and (issuer is not None or of.server.says_issuer):
        raise BadField("iss", f"this answer is not from {of.server.issuer}, which was asked (RFC 9207)")
    if "error" in said:
        word = said["error"] if re.fullmatch(r"[a-z_]{1,64}", said["error"]) else "error"
        raise Denied(f"The authorization server said {word}.", next_step="Begin again, and agree.")
    if not _VISIBLE.match(said.get("code", "")):
        raise BadField("code", "is not there")
    return said["code"]


def redemption(of: Attempt, code: str) -> dict[str, str]:
    """The token request for a code (section 4.1.3)."""
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": of.redirect_uri,
        "code_verifier": of.verifier,
        "resource": of.resource,
    }


def refreshment(of: Grant, wanted: Sequence[str]) -> dict[str, str]:
    """The token request of a grant, for these scopes alone (section 6)."""
    scope = {"scope": " ".join(wanted)} if wanted else {}
    return {"grant_type": "refresh_token", "refresh_token": of.refresh_token, "resource": of.resource, **scope}


def proof(client: Client, assertion: str) -> tuple[dict[str, str], dict[str, str]]:
    """(form fields, headers) by which the client proves itself (section 2.3, RFC 7523 section 2.2)."""
    form = {"client_id": client.id}
    if client.method == BASIC:
        pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
        return form, {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    if client.method == POST:
        form["client_secret"] = client.secret
    if client.method == KEY:
        form |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    return form, {}


def answer(status: int, body: bytes, wanted: Sequence[str]) -> TokenAnswer:
    """A token endpoint's answer (section 5), or `TokenRefused`. A scope that is not said is the one that was wanted."""
    document = _object(body)
    if status != 200 or document is None:
        raise TokenRefused(error_of(body) or f"status {status}")
    token, refresh = document.get("access_token"), document.get("refresh_token", "")
    if not isinstance(token, str) or not _VISIBLE.match(token):
        raise BadField("access_token", "is not there, or has characters that no token has")
    if str(document.get("token_type", "")).lower() != "bearer":
        raise BadField("token_type", "is not Bearer")
    if not isinstance(refresh, str) or (refresh and not _VISIBLE.match(refresh)):
        raise BadField("refresh_token", "has characters that no token has")
    lasts, said = document.get("expires_in", 0), document.get("scope")
    if isinstance(lasts, bool) or not isinstance(lasts, int) or lasts < 0:
        raise BadField("expires_in", "is not a number of seconds")
    given = scopes_of(said.split(), "scope") if isinstance(said, str) and said.strip() else tuple(wanted)
    return TokenAnswer(token, lasts, given, refresh)


def error_of(body: bytes) -> str:
    """The error code in an answer (section 5.2), or nothing."""
    error = (_object(body) or {}).get("error")
    return error if isinstance(error, str) and re.fullmatch(r"[a-z_]{1,64}", error) else ""


def _object(body: bytes) -> Mapping[str, object] | None:
    try:
        document = json_input.parse(body, limit=len(body))
    except Refusal:
        return None
    return document if isinstance(document, Mapping) else None


def endpoint_of(server: AuthorizationServer, *, allow_private: bool) -> str:
    """Where a person may be sent, or `BadField`; the newest OAuth needs PKCE, so a server without S256 is refused."""
    if "S256" not in server.challenges:
        step = "It must list S256 in code_challenge_methods_supported (MCP authorization; RFC 8414)."
        raise BadField("code_challenge_methods_supported", f"{server.issuer} has no PKCE with S256", next_step=step)
    return oauth_url.checked(server.authorization_endpoint, "authorization_endpoint", allow_private=allow_private)
