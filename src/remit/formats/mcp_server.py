"""`[servers.NAME]` of `remit.toml`, and the reviewed description of an MCP server's tool in the catalogue."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from remit.domain.catalogue import ServerConfig
from remit.domain.errors import BadField

from . import jcs
from .toml_source import Section

ASKS = ("elicitation", "sampling", "roots")
_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*\Z")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}\Z")


def read(name: str, s: Section) -> ServerConfig:
    """One server; every flaw is a `BadCatalogue` at its line."""
    if not _NAME.match(name):
        # `SERVER.TOOL` and, to agents, `server__tool` must each be read in one way.
        s.fail("", f"server {name!r} must be a-z and 0-9, with single '-' or '_' between")
    config = ServerConfig(
        name,
        s.texts("command", ()),
        s.text("url", "", limit=2048),
        s.text("credential", "", limit=64),
        s.text("variable", "", limit=64),
        s.texts("asks", ()),
    )
    if bool(config.command) is bool(config.url):
        s.fail("command" if config.command else "", "say either 'command', a list of texts, or 'url'")
    if config.url and not _is_safe(config.url):
        s.fail("url", "'url' must be https://HOST/…, or http:// on loopback, without user information or fragment")
    if bool(config.variable) is not bool(config.command and config.credential):
        s.fail("variable", "'variable' goes with 'command' and 'credential': the environment variable it is put in")
    if config.variable and (not _VARIABLE.match(config.variable) or config.variable.startswith(("REMIT_", "LD_"))):
        s.fail("variable", "'variable' must be A-Z, 0-9 and '_', and not one of ours or of the loader")
    for word in config.asks:
        if word not in ASKS:
            s.fail("asks", f"'asks' cannot be {word!r}; known: {', '.join(ASKS)}")
    return config


def _is_safe(url: str) -> bool:
    """No secret may go there in the clear, nor anywhere that only looks like it."""
    if not url.isascii() or not re.fullmatch(r"https?://[^\s\\@#]+", url):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        return bool(host) and (parts.scheme == "https" or host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False


def origin(config: ServerConfig) -> dict[str, Any]:
    """What a pin covers of where the description comes from."""
    return {"command": list(config.command)} if config.command else {"url": config.url}


def input_schema(s: Section, reviewed: str) -> dict[str, Any]:
    """The arguments' schema as the server said it when it was reviewed."""
    schema = _object(s, reviewed).get("inputSchema")
    if not isinstance(schema, dict):
        s.fail("reviewed", "'reviewed' has no inputSchema; say [arguments]")
    return schema


def pin_of(s: Section, reviewed: str) -> str:
    """The pin of what was reviewed."""
    try:
        return jcs.digest(_object(s, reviewed))
    except BadField as bad:
        s.fail("reviewed", bad.message)


def _object(s: Section, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        s.fail("reviewed", "'reviewed' is not JSON")
    if not isinstance(found, dict):
        s.fail("reviewed", "'reviewed' must be a JSON object")
    return found
