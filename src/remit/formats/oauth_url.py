"""Addresses that OAuth metadata names: written by a stranger, so of few schemes and few characters.

Whoever opens, prints or pastes one must not find a command in it (CVE-2025-6514).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from remit.domain.errors import BadField

from . import http_origin

LIMIT = 2048
_SHAPE = re.compile(r"(https?://[^/?#]+)(/[A-Za-z0-9._~:/%=+,-]*)?(\?[A-Za-z0-9._~:/%=+,&?-]*)?\Z")


def checked(value: object, what: str, *, allow_private: bool, query: bool = True) -> str:
    """The address, if it is https:// (http:// on loopback with `allow_private`), without user information or fragment.

    Anything else is a `BadField` named `what`.
    """
    match = _SHAPE.match(value) if isinstance(value, str) and len(value) <= LIMIT else None
    if match is None or (match[3] and not query):
        raise BadField(what, "is not a plain https:// address")
    origin = origin_of(str(value))
    if origin.scheme != "https" and not (allow_private and origin.is_loopback):
        raise BadField(what, "must be https://; http:// is for loopback, with allow_private_network")
    return str(value)


def origin_of(url: str) -> http_origin.Origin:
    """Its origin, as `http_origin` reads it."""
    parts = urlsplit(url)
    return http_origin.parse(f"{parts.scheme}://{parts.netloc}")


def root_of(url: str) -> str:
    """Scheme and authority as they are written."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def inserted(url: str, well_known: str) -> str:
    """`well_known` between host and path, as RFC 8414 section 3.1 and RFC 9728 section 3.1 say."""
    path = urlsplit(url).path
    return f"{root_of(url)}/.well-known/{well_known}{'' if path == '/' else path}"
