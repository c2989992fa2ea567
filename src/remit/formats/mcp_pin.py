"""A tool's pin: the digest of everything an MCP server tells a model about it. One changed byte is another tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .jcs import digest

_SHOWN = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")


def shown(tool: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an MCP `Tool` that a pin covers; an enforcement point passes on these and no others."""
    return {name: tool[name] for name in _SHOWN if tool.get(name) is not None}


def pin(tool: Mapping[str, Any]) -> str:
    """`sha256:<hex>` over the members of an MCP `Tool` that a model or a client acts on; absent ones are left out.

    `BadField` when canonical JSON cannot carry one, such as an integer beyond 2**53: such a tool cannot be reviewed.
    """
    return digest(shown(tool))
