"""Google ADK: a plugin for the runner, over every agent and tool in it. Grade: *hook*.

    app = App(name="payer", root_agent=agent, plugins=[RemitPlugin(guard)])

A held call asks for ADK's confirmation, with the approval's id and page as its payload. A confirmation is no approval:
when it comes, the call is decided again.
"""

from __future__ import annotations

from typing import Any

from google.adk.plugins.base_plugin import BasePlugin
from google.adk.tools.base_tool import BaseTool
from google.adk.tools.tool_context import ToolContext

from ..contract import Deny, Pending, ToolCall
from ..gate import Guard


class RemitPlugin(BasePlugin):
    """Decides every tool call, and reports every result."""

    def __init__(self, guard: Guard | None = None, name: str = "remit") -> None:
        super().__init__(name=name)
        self._guard = guard or Guard()
        self._answered: set[str] = set()  # calls that did not run, whose answer ADK also shows to `after`

    async def before_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext
    ) -> dict[str, Any] | None:
        """See `BasePlugin`: an answer takes the place of the call."""
        call = _call(tool, tool_args, tool_context)
        verdict = await self._guard.adecide(call)
        if not isinstance(verdict, Deny | Pending):
            return None
        self._answered.add(call.id)
        if isinstance(verdict, Pending) and tool_context.tool_confirmation is None:
            tool_context.request_confirmation(hint=verdict.text, payload=verdict.told())
            tool_context.actions.skip_summarization = True  # a pause is nothing for the model to go on with
        return {"error": verdict.text}

    async def after_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext, result: Any
    ) -> dict[str, Any] | None:
        """See `BasePlugin`: an answer takes the place of the result."""
        call = _call(tool, tool_args, tool_context)
        if call.id in self._answered:
            self._answered.discard(call.id)
            return None
        withheld = await self._guard.aobserve(call, result)
        return {"error": withheld} if withheld else None

    async def on_tool_error_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext, error: Exception
    ) -> dict[str, Any] | None:
        """See `BasePlugin`: it ran, so its permit is spent."""
        self._guard.settled(_call(tool, tool_args, tool_context))
        return None


def _call(tool: BaseTool, arguments: dict[str, Any], context: ToolContext) -> ToolCall:
    return ToolCall(tool.name, arguments, context.function_call_id or "")
