"""LangChain and LangGraph: middleware for `create_agent`. Grade: *hook*.

    agent = create_agent(model, tools, middleware=[RemitMiddleware(guard)], checkpointer=saver)

A held call interrupts the graph with the approval's id and page. Whatever the graph is resumed with is no approval:
the call is decided again. LangGraph runs the node from its start then, and one call still spends one permit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command, interrupt

from ..contract import Deny, Pending, ToolCall, Verdict
from ..gate import Guard

Result = ToolMessage | Command[Any]


class RemitMiddleware(AgentMiddleware[Any, Any]):
    """Decides every tool call of the agent, and reports every result."""

    def __init__(self, guard: Guard | None = None) -> None:
        super().__init__()
        self._guard = guard or Guard()

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]) -> Result:
        """See `AgentMiddleware`."""
        call = _call(request)
        verdict = self._guard.decide(call)
        if isinstance(verdict, Pending):
            interrupt(verdict.told())
            verdict = self._guard.decide(call)
        if isinstance(verdict, Deny | Pending):
            return _said(call, verdict.text)
        try:
            result = handler(request)
        except GraphBubbleUp:
            raise  # the node runs again, with the same permit
        except BaseException:
            self._guard.settled(call)
            raise
        withheld = self._guard.observe(call, _content(result))
        return _said(call, withheld) if withheld else result

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        """See `AgentMiddleware`."""
        call = _call(request)
        verdict: Verdict = await self._guard.adecide(call)
        if isinstance(verdict, Pending):
            interrupt(verdict.told())
            verdict = await self._guard.adecide(call)
        if isinstance(verdict, Deny | Pending):
            return _said(call, verdict.text)
        try:
            result = await handler(request)
        except GraphBubbleUp:
            raise
        except BaseException:
            self._guard.settled(call)
            raise
        withheld = await self._guard.aobserve(call, _content(result))
        return _said(call, withheld) if withheld else result


def _call(request: ToolCallRequest) -> ToolCall:
    asked = request.tool_call
    return ToolCall(asked["name"], asked["args"], asked["id"] or "")


def _content(result: Result) -> Any:
    return result.content if isinstance(result, ToolMessage) else result.update


def _said(call: ToolCall, text: str) -> ToolMessage:
    return ToolMessage(text, name=call.tool, tool_call_id=call.id, status="error")
