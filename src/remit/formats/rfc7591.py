"""Client metadata (RFC 7591 section 2): what Remit says of itself to authorization servers, published or registered.

A client that is published is named by the address of its document (OAuth Client ID Metadata Document).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from remit.domain.errors import BadField

from . import json_input
from .rfc6749 import Client
from .rfc8414 import BASIC, KEY, NONE, POST

PATH = "/client"
JWKS = "/.well-known/client-jwks.json"
METHODS: Mapping[str, str] = {"key": KEY, "public": NONE}
# RFC 8252 section 7.3: on loopback the server allows any port.
LOOPBACK = ("http://127.0.0.1/callback", "http://localhost/callback", "http://[::1]/callback")
_TEXT = re.compile(r"[\x20-\x7e]{1,2048}\Z")


def document(url: str, name: str) -> dict[str, Any] | None:
    """Remit's own metadata document `name`, as published at `url`; None when there is no such document."""
    method = METHODS.get(name)
    if method is None:
        return None
    found: dict[str, Any] = {"client_id": f"{url}{PATH}/{name}", **_about(method, list(LOOPBACK))}
    keys = {"jwks_uri": url + JWKS, "token_endpoint_auth_signing_alg": "ES256"} if method == KEY else {}
    return {**found, "client_uri": url, **keys}


def registration(redirect_uri: str, method: str, scopes: Sequence[str]) -> bytes:
    """What is asked of a registration endpoint (section 3.1): no more scopes than are to be used."""
    scope = {"scope": " ".join(scopes)} if scopes else {}
    return json.dumps({**_about(method, [redirect_uri]), **scope}).encode()


def _about(method: str, redirects: list[str]) -> dict[str, Any]:
    return {
        "client_name": "Remit",
        "redirect_uris": redirects,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "application_type": "native",
        "token_endpoint_auth_method": method,
    }


def registered(body: bytes) -> Client:
    """Who we are now (section 3.2.1)."""
    said = json_input.parse(body, limit=len(body))
    if not isinstance(said, Mapping):
        raise BadField("registration", "is not an object")
    name, secret = said.get("client_id"), said.get("client_secret", "")
    if not isinstance(name, str) or not _TEXT.match(name) or not isinstance(secret, str):
        raise BadField("client_id", "is not there")
    if secret and not _TEXT.match(secret):
        raise BadField("client_secret", "has characters that no secret has")
    method = said.get("token_endpoint_auth_method", BASIC if secret else NONE)
    if method not in (BASIC, POST, NONE) or (method != NONE and not secret):
        raise BadField("token_endpoint_auth_method", f"was registered as {str(method)[:64]}, which was not asked for")
    return Client(name, method, secret if method != NONE else "")
