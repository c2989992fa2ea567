"""Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document): a client's id is the address of what it
says of itself. Whoever controls that address is the client; all else in the document is only said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from remit.domain.errors import BadField
from remit.domain.identity import Attestation

from . import json_input, oauth_url
from .toml_source import Section

LIMIT = 5 * 1024
REDIRECTS = 20
_DOTS = re.compile(r"(?i)(^|/)(\.|%2e){1,2}(/|$)")


@dataclass(frozen=True, slots=True)
class ClientDocument:
    """`name` is what the client calls itself: nobody has checked it. `digest` is of the document's bytes."""

    client: str
    name: str
    redirect_uris: tuple[str, ...]
    digest: str


def read(s: Section) -> Attestation:
    """The keys of `[[attestations]]` that name a client, and what it may have."""
    private = s.flag("allow_private_network", False)
    client = _checked(s, "client_id", s.text("client_id", limit=oauth_url.LIMIT), private=private)
    if urlsplit(client).path in ("", "/") or _DOTS.search(urlsplit(client).path):
        s.fail("client_id", "'client_id' needs a path, without dot segments: it is the address of a document")
    gateways = s.texts("gateways")
    redirects = tuple(_checked(s, "redirect_uris", uri, private=True) for uri in s.texts("redirect_uris", ()))
    if not gateways:
        s.fail("gateways", "'gateways' names the gateways whose tokens this client may have")
    return Attestation(
        "client_metadata",
        client=client,
        gateways=tuple(_checked(s, "gateways", uri, private=True) for uri in gateways),
        redirect_uris=redirects,
        bearer=s.flag("bearer", False),
        allow_private_network=private,
    )


def _checked(s: Section, key: str, value: str, *, private: bool) -> str:
    try:
        return oauth_url.checked(value, key, allow_private=private, query=key == "redirect_uris")
    except BadField as bad:
        s.fail(key, bad.problem)


def parse(body: bytes, *, client: str) -> ClientDocument:
    """The document of `client`; `BadField` unless it says that it is that, to the byte, and proves itself by nothing.

    Clients here are public ones: one that says it has a key or a secret would be taken without it, so it is refused.
    """
    document = json_input.parse(body, limit=LIMIT)
    if not isinstance(document, Mapping):
        raise BadField("client_id", "its document is not a JSON object")
    if document.get("client_id") != client:
        raise BadField("client_id", "its document names another client")
    if document.get("token_endpoint_auth_method", "none") != "none" or "client_secret" in document:
        raise BadField("token_endpoint_auth_method", "must be none in the client's document")
    if "authorization_code" not in _words(document, "grant_types", ("authorization_code",)):
        raise BadField("grant_types", "has no authorization_code in the client's document")
    name = document.get("client_name", "")
    redirects = _words(document, "redirect_uris", ())
    said = name[:100] if isinstance(name, str) else ""
    return ClientDocument(client, said, redirects, sha256(body).hexdigest())


def _words(document: Mapping[str, object], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = document.get(name, default)
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > REDIRECTS:
        raise BadField(name, f"must be a list of at most {REDIRECTS} texts in the client's document")
    return tuple(word for word in value if isinstance(word, str))


def checked_redirect(asked: str, document: ClientDocument, rule: Attestation) -> str:
    """Where the browser may be sent back to: exactly what the document says and, if it says any, the catalogue too.

    On loopback the port may be another one (RFC 8252 section 7.3): a program takes the one that is free.
    """
    uri = oauth_url.checked(asked, "redirect_uri", allow_private=True)
    allowed = (document.redirect_uris, rule.redirect_uris or (uri,))
    if not all(any(_same(uri, one) for one in some) for some in allowed):
        raise BadField("redirect_uri", "is not one that this client's document and its entry here name")
    return uri


def is_loopback(uri: str) -> bool:
    """Whether a program on this very computer will get what is sent there, whichever program that is."""
    return oauth_url.origin_of(uri).is_loopback


def _same(asked: str, known: str) -> bool:
    if asked == known:
        return True
    if not asked.startswith("http://") or not is_loopback(asked):
        return False
    return _portless(asked) == _portless(known)


def _portless(uri: str) -> str:
    return re.sub(r"\A(http://(?:\[[0-9a-f:]*\]|[a-z0-9.]+)):[0-9]{1,5}(?=[/?]|\Z)", r"\1", uri)
