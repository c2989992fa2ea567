"""`tools/NAME.toml`: what a tool takes, what calling it does, and how far what it answers is trusted."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from remit.domain.errors import BadField
from remit.domain.flow import Sensitivity, Trust
from remit.domain.origin import BY_INITIATOR
from remit.domain.tool import Effect, Tool

from . import http_tool, mcp_server
from .arguments import ArgumentSchema
from .content import FORMATS
from .toml_source import Section, revision

_LIMITS = ("maxLength", "minLength", "minimum", "maximum")
_TYPES: Mapping[str, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "decimal": {"type": "string", "format": "decimal", "pattern": r"^-?[0-9]{1,14}(\.[0-9]{1,4})?$"},
    "texts": {"type": "array", "items": {"type": "string"}},
}


def read(name: str, s: Section) -> Tool:
    """The entry; a key missing, wrong or unknown is a `BadCatalogue` with its line."""
    reviewed = s.text("reviewed", "", limit=131_072)
    schema = mcp_server.input_schema(s, reviewed) if reviewed and not {"schema", "arguments"} & s.keys() else _schema(s)
    try:
        ArgumentSchema.compile(schema)
    except BadField as bad:
        s.fail("schema", bad.message)
    tool = Tool(
        name=name,
        title=s.text("title", ""),
        effect=s.enum("effect", Effect),
        sensitivity=s.enum("sensitivity", Sensitivity, Sensitivity.INTERNAL),
        environment=s.text("environment", "production", limit=64),
        resource=s.text("resource", name, limit=1024),
        server=s.text("server", "", limit=64),
        egress=s.flag("egress", False),
        output_trust=s.enum("output_trust", Trust, Trust.UNTRUSTED),
        output_sensitivity=s.enum("output_sensitivity", Sensitivity, Sensitivity.INTERNAL),
        schema=schema,
        matters=s.texts("matters", ("*",)),
        says=s.text("says", "", limit=200),
        words=s.texts("words", ()),
        output_format=s.word("output_format", FORMATS) if "output_format" in s else "",
        output_fields={name: Trust[word.upper()] for name, word in _output_fields(s.table("output_fields"))},
        pin=s.text("pin", "", limit=71),
        reviewed=reviewed,
    )
    if name == BY_INITIATOR:
        s.fail("", f"a tool cannot be called {name!r}: purposes say it of what the initiator stated")
    if tool.pin and not re.fullmatch(r"sha256:[0-9a-f]{64}", tool.pin):
        s.fail("pin", "'pin' must be sha256: and 64 hex digits; `remit tool pin` prints it")
    if "http" in s:
        if tool.pin or reviewed or tool.server:
            s.fail("http", "a tool is an MCP server's or has an [http] table, not both")
        route = http_tool.read(s.table("http"), schema)
        tool = dataclasses.replace(tool, http=route, pin=http_tool.pin(route))
    s.knows("http")
    if reviewed and mcp_server.pin_of(s, reviewed) != tool.pin:
        s.fail("pin", "'pin' is not that of 'reviewed'; both come from `remit tool import` or `remit tool pin`")
    return dataclasses.replace(tool, revision=revision(tool))


def _output_fields(s: Section) -> Iterable[tuple[str, str]]:
    for name in s.rest():
        yield name, s.word(name, [trust.word for trust in Trust])


def _schema(s: Section) -> dict[str, Any]:
    if "schema" in s:
        if "arguments" in s:
            s.fail("schema", "say either 'schema' or [arguments], not both")
        try:
            schema = json.loads(s.text("schema", limit=65_536))
        except (ValueError, RecursionError):
            s.fail("schema", "'schema' is not JSON")
        if not isinstance(schema, dict):
            s.fail("schema", "'schema' must be a JSON object")
        return schema
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, argument in s.table("arguments").named():
        properties[name] = dict(_TYPES[argument.word("type", _TYPES)])
        argument.knows(*_LIMITS, "pattern", "enum")
        for limit in _LIMITS:
            if limit in argument:
                properties[name][limit] = argument.whole(limit, least=-(2**53))
        if "pattern" in argument:
            properties[name]["pattern"] = argument.text("pattern")
        if "enum" in argument:
            properties[name]["enum"] = list(argument.texts("enum"))
        properties[name]["description"] = argument.text("title", name)
        if argument.flag("required", True):
            required.append(name)
        argument.done()
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
