"""A request as the arguments of a reviewed tool, and those arguments as the one request that is sent.

Nothing of the agent's bytes goes on: target and body are written anew from what was decided on. So there is nothing to
smuggle, and no second reading of a duplicate, an encoding or a length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus, unquote_to_bytes

from remit.domain.errors import BadField
from remit.domain.flow import Json
from remit.domain.http_route import HttpRoute

from .http_path import Template, parts_of

DEPTH = 32
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,15})\Z")
_BODIED = ("POST", "PUT", "PATCH")
_MEDIA = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Received:
    """What an agent asked of an origin: everything of it that matters."""

    method: str
    origin: str
    path: str
    query: str
    media: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Meant:
    """The tool that a request is a call of."""

    tool: str
    route: HttpRoute
    pin: str
    template: Template
    schema: Mapping[str, Any]
    holes: Mapping[str, str]

    def arguments(self, received: Received) -> dict[str, Json]:
        """Of path, query and body, by the types of the schema; `BadField` for what has no one meaning."""
        route, properties = self.route, self.schema.get("properties") or {}
        found: dict[str, Json] = {name: _typed(value, properties.get(name)) for name, value in self.holes.items()}
        for name, value in _several(_pairs(received.query, "query"), properties, "query").items():
            if name not in route.query:
                raise BadField("query", f"{name[:64]!r} is no query parameter of {self.tool}")
            found[name] = value
        for name, value in self._body(received, properties).items():
            if name in self.template.holes or name in route.query:
                raise BadField("body", f"{name[:64]!r} belongs to the path or the query")
            found[name] = value
        return found

    def _body(self, received: Received, properties: Mapping[str, Any]) -> Mapping[str, Json]:
        if not received.body:
            return {}
        if not self.route.body:
            raise BadField("body", f"{self.tool} takes none")
        media, _, parameters = received.media.partition(";")
        if media.strip().lower() != _MEDIA[self.route.body] or not _is_utf8(parameters):
            raise BadField("content-type", f"{self.tool} takes {_MEDIA[self.route.body]}, in UTF-8")
        if self.route.body == "json":
            return _object(received.body)
        try:
            return _several(_pairs(received.body.decode("ascii"), "body"), properties, "body")
        except UnicodeDecodeError as bad:
            raise BadField("body", "is not form data") from bad


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent: path with query, and body with its media type (both empty for none)."""

    target: str
    media: str
    body: bytes


class Routes:
    """Every route of one catalogue."""

    def __init__(self, entries: Iterable[tuple[str, HttpRoute, str, Mapping[str, Any]]]) -> None:
        self._by: dict[tuple[str, str], list[tuple[Template, str, HttpRoute, str, Mapping[str, Any]]]] = {}
        self.origins: dict[str, str] = {}  # authority → origin
        for tool, route, pin, schema in entries:
            entry = (Template.parse(route.path), tool, route, pin, schema)
            self._by.setdefault((route.origin, route.method), []).append(entry)
            self.origins[route.origin.partition("://")[2]] = route.origin
        for entries_ in self._by.values():
            entries_.sort(key=lambda entry: entry[0].ranks)

    def meant(self, received: Received) -> Meant | None:
        """The tool, or None. Raises `BadField` for a path that has no one meaning.

        A path that is another tool's in other letters is nobody's: many servers do not tell them apart.
        """
        parts = parts_of(received.path)
        for template, tool, route, pin, schema in self._by.get((received.origin, received.method), ()):
            if template.values(parts, loosely=True) is not None:
                holes = template.values(parts)
                return None if holes is None else Meant(tool, route, pin, template, schema, holes)
        return None


def outgoing(meant: Meant, arguments: Mapping[str, Json]) -> Outgoing:
    """The request of this call; a value that has no one spelling there raises `BadField`."""
    holes = {name: _text(name, arguments[name]) for name in meant.template.holes}
    target = meant.template.filled(holes)
    query = list(_spelled((name, arguments[name]) for name in meant.route.query if name in arguments))
    if query:
        target += "?" + "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    rest = {n: v for n, v in arguments.items() if n not in meant.template.holes and n not in meant.route.query}
    if not meant.route.body or (not rest and (meant.route.method not in _BODIED or meant.route.body == "form")):
        return Outgoing(target, "", b"")
    if meant.route.body == "json":
        body = json.dumps(rest, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    else:
        body = "&".join(f"{quote_plus(n)}={quote_plus(v)}" for n, v in _spelled(rest.items())).encode()
    return Outgoing(target, _MEDIA[meant.route.body], body)


def _spelled(pairs: Iterable[tuple[str, Json]]) -> Iterable[tuple[str, str]]:
    for name, value in pairs:
        for each in value if isinstance(value, list) else [value]:
            yield name, _text(name, each)


def _text(name: str, value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise BadField(name, "must be text, a whole number, true or false, or a list of those")


def _typed(text: str, schema: Any) -> Json:
    """`7` is the number only where the schema says so, and only in the one spelling that it is sent in again."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind == "integer" and _WHOLE.match(text) and text != "-0":
        return int(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def _several(pairs: Sequence[tuple[str, str]], properties: Mapping[str, Any], where: str) -> dict[str, Json]:
    found: dict[str, Any] = {}
    for name, text in pairs:
        schema = properties.get(name)
        if isinstance(schema, Mapping) and schema.get("type") == "array":
            found.setdefault(name, []).append(_typed(text, schema.get("items")))
        elif name in found:
            raise BadField(where, f"{name[:64]!r} is there twice")
        else:
            found[name] = _typed(text, schema)
    return found


def _pairs(text: str, where: str) -> list[tuple[str, str]]:
    """`application/x-www-form-urlencoded`, strictly: `&` alone separates, and what is escaped is UTF-8."""
    return [
        (_plain(n, where), _plain(v, where)) for n, _, v in (pair.partition("=") for pair in text.split("&") if pair)
    ]


def _plain(text: str, where: str) -> str:
    if "%" in _ESCAPE.sub("", text) or not text.isascii():
        raise BadField(where, "has a percent sign that escapes nothing, or is not ASCII")
    try:
        found = unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError as bad:
        raise BadField(where, "is not UTF-8") from bad
    if "\x00" in found:
        raise BadField(where, "has a NUL")
    return found


def _is_utf8(parameters: str) -> bool:
    said = parameters.strip().lower().replace('"', "").replace(" ", "")
    return said in ("", "charset=utf-8")


def _object(body: bytes) -> dict[str, Json]:
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse_constant)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # half a surrogate pair, an endless number
    except (ValueError, RecursionError) as bad:
        raise BadField("body", "is not JSON, or says a member twice") from bad
    if not isinstance(found, dict):
        raise BadField("body", "must be a JSON object")
    _bounded(found, 0)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("twice")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(text)


def _bounded(value: Any, depth: int) -> None:
    if depth > DEPTH:
        raise BadField("body", f"is nested more than {DEPTH} deep")
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _bounded(below, depth + 1)
