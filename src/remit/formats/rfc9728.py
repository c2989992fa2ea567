"""OAuth 2.0 Protected Resource Metadata (RFC 9728): who issues tokens for a resource, as the resource itself says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from remit.domain.errors import BadField

from . import json_input, oauth_url

WELL_KNOWN = "oauth-protected-resource"
_PARAMETER = re.compile(r'([a-z_]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.){0,2048})"|([^\s,"]{1,2048}))')
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}\Z")
_MOST = 100


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """`resource` is what tokens are to be for (RFC 8707)."""

    resource: str
    authorization_servers: tuple[str, ...]
    scopes: tuple[str, ...] = ()


def challenge(header: str) -> Mapping[str, str]:
    """Parameters of a `WWW-Authenticate` header's Bearer challenge; of two of one name the first (section 5.1)."""
    found: dict[str, str] = {}
    _, bearer, rest = header[:8192].lower().partition("bearer")
    for match in _PARAMETER.finditer(header[:8192][-len(rest) :] if bearer and rest else ""):
        found.setdefault(match[1], match[2] if match[2] is not None else match[3])
    return found


def candidates(url: str) -> tuple[str, ...]:
    """Where the metadata of the resource at `url` may be, when it does not say: at its path, then at the root."""
    found = (oauth_url.inserted(url, WELL_KNOWN), oauth_url.inserted(oauth_url.root_of(url), WELL_KNOWN))
    return tuple(dict.fromkeys(found))


def parse(body: bytes, *, url: str, metadata_url: str, allow_private: bool) -> ProtectedResource:
    """The metadata of the resource at `url`; `BadField` when it is another's (section 3.3).

    A document at the well-known address of the resource's own host may speak for the whole host: whoever controls the
    root controls what is below. One at any other address speaks for exactly `url`, or a tenant could ask for
    tokens that are good at its neighbours.
    """
    document = json_input.parse(body, limit=len(body))
    if not isinstance(document, Mapping):
        raise BadField("resource_metadata", "is not an object")
    resource = document.get("resource")
    if not isinstance(resource, str) or resource not in _identifiers(url, metadata_url):
        raise BadField("resource", f"the metadata at {metadata_url} is for another resource than {url}")
    servers = document.get("authorization_servers")
    if not isinstance(servers, list) or not 0 < len(servers) <= 10:
        raise BadField("authorization_servers", "the resource names no authorization server")
    return ProtectedResource(
        resource,
        tuple(
            oauth_url.checked(one, "authorization_servers", allow_private=allow_private, query=False) for one in servers
        ),
        scopes(document.get("scopes_supported"), "scopes_supported"),
    )


def _identifiers(url: str, metadata_url: str) -> set[str]:
    root = oauth_url.root_of(url)
    whole = metadata_url == oauth_url.inserted(root, WELL_KNOWN) or url in (root, root + "/")
    return {url, root, root + "/"} if whole else {url}


def scopes(value: object, what: str) -> tuple[str, ...]:
    """Scope tokens (RFC 6749 section 3.3); absent is none."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > _MOST:
        raise BadField(what, f"must be at most {_MOST} scopes")
    if not all(isinstance(one, str) and _SCOPE.match(one) for one in value):
        raise BadField(what, "has what is no scope (RFC 6749 section 3.3)")
    return tuple(dict.fromkeys(str(one) for one in value))
