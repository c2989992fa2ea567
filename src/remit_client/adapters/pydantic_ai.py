"""Pydantic AI: a toolset around your toolsets. Grade: *hook*.

    agent = Agent(model, toolsets=[RemitToolset(FunctionToolset([send_payment]), guard)],
                  output_type=[str, DeferredToolRequests])

A held call is deferred for approval; its metadata has the approval's id and page. `approvals={call_id: True}` only runs
it again: whether people agreed, Remit is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset

from ..contract import Deny, Pending, ToolCall
from ..gate import Guard


@dataclass
class RemitToolset(WrapperToolset[Any]):
    """Decides every call of the toolset within, and reports every result."""

    guard: Guard = field(default_factory=Guard)

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """See `AbstractToolset`."""
        call = ToolCall(name, tool_args, ctx.tool_call_id or "")
        verdict = await self.guard.adecide(call)
        if isinstance(verdict, Pending) and not ctx.tool_call_approved:
            raise ApprovalRequired(metadata=verdict.told())
        if isinstance(verdict, Deny | Pending):
            return verdict.text
        try:
            result = await self.wrapped.call_tool(name, tool_args, ctx, tool)
        except (ApprovalRequired, CallDeferred):
            raise  # the tool did not run yet; when it does, this permit is for it
        except BaseException:
            self.guard.settled(call)
            raise
        return await self.guard.aobserve(call, result) or result
