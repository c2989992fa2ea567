"""FastMCP: middleware for a tool server that one task's agent uses. Grade: *hook* in the agent's own process.

    server = FastMCP("payments", middleware=[RemitMiddleware(guard)])

A held call is answered with MCP's own "input required" (2026-07-28): a URL where people agree, opened by the client,
which then retries. That it did is no approval: the call is decided again. Older clients are told in the result.
One server in front of many callers is the gateway's work, or `remit_client.asgi`'s.
"""

from __future__ import annotations

from typing import Any

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import InputRequiredToolResult, ToolResult
from mcp_types import CallToolRequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS as MODERN

from ..contract import Deny, Pending, ToolCall
from ..gate import Guard
from .mcp import input_required, observed


class RemitMiddleware(Middleware):
    """Decides every `tools/call`, and reports every result."""

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard or Guard()

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """See `Middleware`."""
        call = ToolCall(context.message.name, context.message.arguments or {})
        verdict = await self._guard.adecide(call)
        if isinstance(verdict, Pending) and _may_pause(context.fastmcp_context):
            return InputRequiredToolResult(input_required(verdict))
        if isinstance(verdict, Deny | Pending):
            return ToolResult(content=verdict.text, is_error=True)
        result = await call_next(context)
        if isinstance(result, InputRequiredToolResult):
            return result  # the tool itself asks for something first: nothing was read yet
        withheld = await self._guard.aobserve(call, observed(result))
        return ToolResult(content=withheld, is_error=True) if withheld else result


def _may_pause(context: Any) -> bool:
    """Whether this client can be asked to, and was not asked already for this call."""
    request = context.request_context if context else None
    return request is not None and request.protocol_version in MODERN and context.input_responses is None
