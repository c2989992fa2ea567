"""The `[http]` table of `tools/NAME.toml`: which request an egress takes for a call of this tool."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from remit.domain.errors import BadCatalogue, BadField
from remit.domain.http_route import HttpRoute
from remit.domain.tool import Tool

from . import http_origin, jcs
from .http_path import Template
from .toml_source import Section

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
BODIES = ("json", "form")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")
# What an egress says itself, what frames the message, and what would make another request of it.
_OURS = re.compile(
    r"(?:host|authorization|cookie2?|dpop|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|date|via"
    r"|content-.*|accept-encoding|proxy-.*|x-forwarded-.*|forwarded|x-real-ip|x-http-method.*|x-method-override"
    r"|x-original-.*|x-rewrite-.*|sec-.*|origin|referer|range|remit-.*)\Z",
    re.IGNORECASE,
)


def read(s: Section, schema: Mapping[str, Any]) -> HttpRoute:
    """One table; every flaw is a `BadCatalogue` at its line."""
    try:
        origin = http_origin.parse(s.text("origin", limit=300))
    except BadField as bad:
        s.fail("origin", f"'origin' {bad.problem}")
    route = HttpRoute(
        str(origin),
        s.word("method", METHODS),
        s.text("path", limit=1024),
        s.texts("query", ()),
        s.word("body", BODIES) if "body" in s else "",
        s.texts("headers", ()),
        s.text("credential", "", limit=64),
        s.text("part", "", limit=64),
        s.text("header", "Authorization", limit=64),
        s.text("scheme", "Bearer", limit=64),
        s.flag("allow_private_network", False),
    )
    s.knows("body")
    s.done()
    if origin.scheme == "http" and not (origin.is_loopback and route.allow_private_network):
        s.fail("origin", "'origin' must be https; http is only for loopback, with allow_private_network = true")
    _check_arguments(s, route, schema)
    lowered = [name.lower() for name in (*route.headers, route.header)]
    for name in (*route.headers, route.header):
        if not _TOKEN.match(name) or (_OURS.match(name) and name != route.header) or lowered.count(name.lower()) > 1:
            s.fail("headers" if name in route.headers else "header", f"{name!r} cannot be passed on")
    if _OURS.match(route.header) and route.header.lower() != "authorization":
        s.fail("header", f"{route.header} cannot carry a credential")
    if route.scheme and not _TOKEN.match(route.scheme):
        s.fail("scheme", "'scheme' must be one word, such as Bearer, Basic, token; or empty for the value alone")
    return route


def _check_arguments(s: Section, route: HttpRoute, schema: Mapping[str, Any]) -> None:
    try:
        holes = Template.parse(route.path).holes
    except BadField as bad:
        s.fail("path", f"'path' {bad.problem}")
    properties = schema.get("properties")
    known = set(properties) if isinstance(properties, Mapping) else set()
    required = schema.get("required", ())
    for name in holes:
        if name not in known or name not in required:
            s.fail("path", f"{{{name}}} is not a required argument of this tool")
    for name in route.query:
        if name not in known or name in holes or route.query.count(name) > 1:
            s.fail("query", f"{name!r} must be an argument of this tool, and be taken from one place")
    left = sorted(known - set(holes) - set(route.query))
    if left and not route.body:
        s.fail("query", f"argument {left[0]!r} is in neither 'path' nor 'query', and there is no 'body'")
    if route.body and route.method in ("GET", "HEAD"):
        s.fail("body", f"{route.method} has no body")


def pin(route: HttpRoute) -> str:
    """What an egress shows with a call, so that a decision is about the request that the egress will send."""
    return jcs.digest(
        {"http": {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(route).items()}}
    )


class Apart:
    """No request may be two tools'; of two templates one may only be a special case of the other, and is then meant.

    One authority has one scheme, since a reverse route names the authority alone; whether its network is private has
    one answer.
    """

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, HttpRoute]] = {}
        self._by: dict[tuple[str, str, int], list[tuple[str, Template]]] = {}

    def add(self, name: str, route: HttpRoute) -> None:
        """Raises `BadCatalogue` about `name` when one before it is too near."""
        first, theirs = self._first.setdefault(route.origin.partition("://")[2], (name, route))
        if theirs.origin != route.origin:
            _fail(name, f"origin {route.origin!r} is {theirs.origin!r} for {first!r}; a host and port has one scheme")
        if theirs.allow_private_network != route.allow_private_network:
            _fail(name, f"allow_private_network differs from {first!r}'s, which has the same origin")
        template = Template.parse(route.path)
        several = any(segment.several for segment in template.segments)
        key = (route.origin, route.method)
        length = 0 if several else len(template.segments)  # only a last {rest...} has several lengths
        near = [k for k in self._by if k[:2] == key and (several or k[2] in (0, length))]
        for other, theirs_ in (each for k in near for each in self._by[k]):
            if template.overlaps(theirs_) and template.within(theirs_) == theirs_.within(template):
                _fail(name, f"{route.method} {route.path} and the path of {other!r} can mean the same request")
        self._by.setdefault((*key, length), []).append((name, template))


def check_apart(tools: Mapping[str, Tool]) -> None:
    """The whole catalogue's."""
    apart = Apart()
    for name, tool in sorted(tools.items()):
        if tool.http:
            apart.add(name, tool.http)


def _fail(name: str, problem: str) -> NoReturn:
    raise BadCatalogue(f"tools/{name}.toml", 1, problem)
