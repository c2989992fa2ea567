"""A tool's pin: the digest of what an MCP server tells a model about it, and of where that server comes from.

One changed byte of either is another tool: nobody has reviewed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .jcs import digest

_SHOWN = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")


def shown(tool: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an MCP `Tool` that a pin covers; an enforcement point passes on these and no others."""
    return {name: tool[name] for name in _SHOWN if tool.get(name) is not None}


def pinned(tool: Mapping[str, Any], origin: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Everything a pin covers, as a reviewer reads it. `origin` is `{"command": […]}` or `{"url": …}`."""
    return {**shown(tool), **({"server": dict(origin)} if origin else {})}


def pin(tool: Mapping[str, Any], origin: Mapping[str, Any] | None = None) -> str:
    """`sha256:<hex>` over that; `BadField` when canonical JSON cannot carry it, such as an integer beyond 2**53."""
    return digest(pinned(tool, origin))
