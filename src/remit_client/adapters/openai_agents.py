"""OpenAI Agents SDK: function tools that are decided before they run. Grade: *hook*.

    agent = Agent(name="payer", tools=[guarded(send_payment, guard)])
    result = await Runner.run(agent, "…")
    for item in result.interruptions:
        held = await pending(guard, item)       # the approval's id and page; None once people answered

A held call interrupts the run. `state.approve(item)` only lets it be asked again: whether people agreed, Remit says.
The SDK asks twice for one call, whether it needs approval and whether it may run; that spends one permit.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from agents import (
    FunctionTool,
    RunContextWrapper,
    ToolApprovalItem,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    ToolInputGuardrailData,
    ToolOutputGuardrail,
    ToolOutputGuardrailData,
)

from ..contract import Deny, Pending, ToolCall
from ..gate import Guard


def guarded(tool: FunctionTool, guard: Guard | None = None) -> FunctionTool:
    """The same tool, decided before it runs and reported after. What it had of guardrails and approval stays."""
    gate, before = guard or Guard(), tool.needs_approval

    async def needs_approval(context: RunContextWrapper[Any], arguments: dict[str, Any], call_id: str) -> bool:
        if before is True or (callable(before) and await before(context, arguments, call_id)):
            return True
        return isinstance(await gate.adecide(ToolCall(tool.name, arguments, call_id)), Pending)

    async def may_it(data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
        verdict = await gate.adecide(_call(data))
        if isinstance(verdict, Deny | Pending):
            return ToolGuardrailFunctionOutput.reject_content(verdict.text)
        return ToolGuardrailFunctionOutput.allow()

    async def report(data: ToolOutputGuardrailData) -> ToolGuardrailFunctionOutput:
        withheld = await gate.aobserve(_call(data), data.output)
        return ToolGuardrailFunctionOutput.reject_content(withheld) if withheld else ToolGuardrailFunctionOutput.allow()

    return replace(
        tool,
        needs_approval=needs_approval,
        # Ours is last to see the arguments and first to see the output: no other guardrail stands between.
        tool_input_guardrails=[*(tool.tool_input_guardrails or []), ToolInputGuardrail(may_it, "remit")],
        tool_output_guardrails=[ToolOutputGuardrail(report, "remit"), *(tool.tool_output_guardrails or [])],
    )


async def pending(guard: Guard, item: ToolApprovalItem) -> Pending | None:
    """What an interruption waits for, and where; in another process too. None when nobody needs to be waited for."""
    raw: Any = item.raw_item
    call = ToolCall(item.tool_name or "", _arguments(raw.arguments), raw.call_id)
    verdict = await guard.adecide(call)
    return verdict if isinstance(verdict, Pending) else None


def _call(data: ToolInputGuardrailData) -> ToolCall:
    told = data.context
    return ToolCall(told.tool_name, _arguments(told.tool_arguments), told.tool_call_id)


def _arguments(text: str) -> dict[str, Any]:
    found = json.loads(text or "{}")
    if not isinstance(found, dict):
        raise ValueError("the arguments are not an object")
    return found
