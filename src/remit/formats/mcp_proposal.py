"""A catalogue entry proposed from what an MCP server says of a tool: a first draft, for a person to judge.

The server is not trusted: what it says of itself may raise the risk that a draft states, and never lowers it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from remit.domain.flow import Sensitivity
from remit.domain.identity import NAME
from remit.domain.tool import Effect, Tool

_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_WRITES = re.compile(
    "create|add|update|set|put|write|save|edit|append|insert|patch|modify|change|rename|move|copy|upsert|assign"
    "|enable|disable|subscribe|unsubscribe|mkdir|touch"
)
_READS = re.compile("get|list|read|search|find|show|describe|count|lookup|view|query|fetch|check|status")
_FINAL = re.compile(
    "delete|remove|drop|destroy|purge|erase|send|pay|transfer|wire|refund|publish|post|push|merge|deploy|execute|exec"
    "|run|eval|shell|command|kill|reset|revoke|overwrite|submit|book|order|buy|sell|email|invite|share"
)
_OUT = re.compile("send|post|publish|push|upload|email|invite|share|forward|webhook|notify|message|tweet")
_WHERE = re.compile("to|cc|bcc|recipients?|e?mail|ur[li]|webhook|host|address|channel")
_NAMED = re.compile(
    "path|file|filename|directory|folder|dir|amount|price|iban|account|currency|ids?|key|user|owner|repo|repository"
    "|branch|table|database"
)
_PRIVATE = re.compile("passwords?|secrets?|credentials?|tokens?|salary|medical|iban")
_FORMATS = frozenset(("uri", "uri-reference", "email", "hostname", "ipv4", "ipv6", "uuid"))
_COMPLETE = {
    "type": "object",
    "properties": {
        "of": {"type": "string"},
        "argument": {"type": "string"},
        "value": {"type": "string"},
        "others": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["of", "argument", "value", "others"],
    "additionalProperties": False,
}
_ONE = {"resources/read": "uri", "resources/subscribe": "uri", "logging/setLevel": "level"}
_PROMPT = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "arguments": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def words(name: str) -> set[str]:
    """`deleteUser-now` → delete, user, now."""
    return {word.lower() for word in _WORDS.findall(name)}


def _any(said: Iterable[str], *patterns: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(word) for word in said for pattern in patterns)


def effect(tool: Mapping[str, Any]) -> Effect:
    """By what it is called; by its annotations, worse than that if they say so (MCP: hints, never to be trusted).

    A name that says neither that it reads nor that it writes may do anything.
    """
    said, hints = words(str(tool.get("name", ""))), tool.get("annotations") or {}
    writes = _any(said, _WRITES)
    if _any(said, _FINAL) or hints.get("destructiveHint") is True or not (writes or _any(said, _READS)):
        return Effect.IRREVERSIBLE
    return Effect.WRITE if writes or hints.get("readOnlyHint") is False else Effect.READ


def sensitivity(tool: Mapping[str, Any]) -> Sensitivity:
    """Confidential when its name or its arguments' have a word for what is."""
    said = words(str(tool.get("name", ""))).union(*map(words, _properties(tool)))
    return Sensitivity.CONFIDENTIAL if _any(said, _PRIVATE) else Sensitivity.INTERNAL


def egress(tool: Mapping[str, Any]) -> bool:
    """Whether it may carry data out: by its name, by an argument that says where to, or because it says so."""
    said, hints = words(str(tool.get("name", ""))), tool.get("annotations") or {}
    where = any(_any(words(name), _WHERE) or _format(schema) in _FORMATS for name, schema in _properties(tool).items())
    return _any(said, _OUT) or where or hints.get("openWorldHint") is True


def matters(tool: Mapping[str, Any]) -> Sequence[str]:
    """Every argument whose origin decides by the schema, and those that say to whom, where, what or how much."""
    schema = tool.get("inputSchema") or {}
    by_schema = Tool("x", "", Effect.READ, Sensitivity.INTERNAL, "", "x", schema=schema).decisive()
    found = _properties(tool)
    return [n for n, s in found.items() if n in by_schema or _any(words(n), _NAMED, _WHERE) or _format(s) in _FORMATS]


def draft(name: str, described: Mapping[str, Any], pin: str) -> str:
    """TOML of `tools/NAME.toml`; empty when it cannot be one, because of its name or because it cannot be pinned."""
    if not NAME.match(name) or not pin:
        return ""
    reviewed = json.dumps(described, ensure_ascii=True).replace("'", "\\u0027")
    if "method" in described:
        return _method(str(described["method"]), pin, reviewed)
    lines = ["# Proposed from what the server says of itself, which proves nothing. Judge it, then remove this line."]
    hints = {k: v for k, v in (described.get("annotations") or {}).items() if k.endswith("Hint")}
    if hints:
        lines.append(f"# It says: {json.dumps(hints, ensure_ascii=True)}. That can only have raised what follows.")
    lines += [f'effect = "{effect(described).word}"', f'sensitivity = "{sensitivity(described).word}"']
    if egress(described):
        lines.append("egress = true")
    lines += [f"matters = {json.dumps(list(matters(described)), ensure_ascii=True)}", 'output_trust = "untrusted"']
    return "\n".join([*lines, f'pin = "{pin}"', f"reviewed = '''{reviewed}'''"]) + "\n"


def _method(method: str, pin: str, reviewed: str) -> str:
    head = f"effect = \"read\"\noutput_trust = \"untrusted\"\npin = \"{pin}\"\nreviewed = '''{reviewed}'''\n"
    if method in _ONE:
        return head + f'[arguments.{_ONE[method]}]\ntype = "text"\n'
    schema = _COMPLETE if method == "completion/complete" else _PROMPT
    return head + f"schema = '''{json.dumps(schema)}'''\n"


def _properties(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = tool.get("inputSchema")
    found = schema.get("properties") if isinstance(schema, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _format(schema: Any) -> str:
    return str(schema.get("format", "")) if isinstance(schema, Mapping) else ""
