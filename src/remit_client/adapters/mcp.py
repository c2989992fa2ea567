"""The official MCP SDK: an extension for a tool server that one task's agent uses. Grade: *hook*.

    server = MCPServer("payments", extensions=[RemitExtension(guard)])

A held call is answered with MCP's own "input required" (2026-07-28): a URL where people agree, opened by the client,
which then retries. That it did is no approval: the call is decided again. Older clients are told in the result.
"""

from __future__ import annotations

from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ElicitRequest,
    ElicitRequestURLParams,
    InputRequiredResult,
    TextContent,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS as MODERN

from ..contract import Deny, Pending, ToolCall
from ..gate import Guard


class RemitExtension(Extension):
    """Decides every `tools/call`, and reports every result."""

    identifier = "local.remit/guard"

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard or Guard()

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """See `Extension`."""
        call = ToolCall(params.name, params.arguments or {})
        verdict = await self._guard.adecide(call)
        if isinstance(verdict, Pending) and ctx.protocol_version in MODERN and params.input_responses is None:
            return input_required(verdict)
        if isinstance(verdict, Deny | Pending):
            return _said(verdict.text)
        result = await call_next(ctx)
        if isinstance(result, InputRequiredResult):
            return result  # the tool itself asks for something first: nothing was read yet
        withheld = await self._guard.aobserve(call, observed(result))
        return _said(withheld) if withheld else result


def input_required(held: Pending) -> InputRequiredResult:
    """The client opens the page for its person, and tries again."""
    asks = ElicitRequestURLParams(message=held.text, url=held.url, elicitation_id=held.approval)
    return InputRequiredResult(input_requests={"approval": ElicitRequest(params=asks)})


def observed(result: Any) -> Any:
    """What a client could read of a result: all of it."""
    return result.model_dump(mode="json", by_alias=True, exclude_none=True) if hasattr(result, "model_dump") else result


def _said(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
