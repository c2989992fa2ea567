"""Claude Agent SDK: hooks for `ClaudeAgentOptions`. Grade: *hook*.

    ClaudeAgentOptions(hooks=remit_hooks(guard))

Claude counts a hook that fails or is late as no decision and goes on, unless its matcher says `block`: ours do. A held
call is deferred: the run stops, its `ResultMessage.deferred_tool_use` has the call, and `resume=session_id` decides it
again, and denies it with where people can agree while they have not. Claude defers a call once, and only alone.
Catalogue names are those of `remit_client.hooks.claude_code`; `Guard(tools=…)` may give them others.
"""

from __future__ import annotations

from typing import Any, Literal

from claude_agent_sdk import HookContext, HookMatcher
from claude_agent_sdk.types import HookEvent, HookInput, HookJSONOutput

from ..contract import Deny, Pending, ToolCall
from ..gate import Guard
from ..hooks import claude_code as claude


def remit_hooks(
    guard: Guard | None = None, *, held: Literal["defer", "deny"] = "defer", timeout: float = 30
) -> dict[HookEvent, list[HookMatcher]]:
    """Every tool decided before it runs and reported after. `timeout` is when Claude stops waiting, and blocks."""
    gate, deferred = guard or Guard(), set[str]()

    async def before(told: HookInput, tool_use_id: str | None, context: HookContext) -> HookJSONOutput:
        try:
            event = claude.read(told)
        except ValueError:
            return _said(claude.before("deny", "Denied: this call cannot be understood. Nothing was done."))
        verdict = await gate.adecide(_call(event))
        if isinstance(verdict, Deny | Pending):
            # Claude defers a call once: asked again, it would lose its answer.
            again = not isinstance(verdict, Pending) or event.id in deferred
            word = "deny" if again else held
            deferred.add(event.id)
            return _said(claude.before(word, verdict.text))
        return _said(claude.before("allow", " ".join(verdict.why)))

    async def after(told: HookInput, tool_use_id: str | None, context: HookContext) -> HookJSONOutput:
        event = claude.read(told)
        return _said(claude.after(event, await gate.aobserve(_call(event), event.result)))

    def matchers(hook: Any) -> list[HookMatcher]:
        return [HookMatcher(matcher=None, hooks=[hook], timeout=timeout, on_failure="block")]

    return {
        "PreToolUse": matchers(before),
        "PostToolUse": matchers(after),
        "PostToolUseFailure": matchers(after),
    }


def _call(event: claude.Event) -> ToolCall:
    return ToolCall(event.tool, event.arguments, event.id)


def _said(answer: dict[str, Any]) -> Any:
    """The SDK's spelling: `continue` is a word of Python's."""
    return {("continue_" if name == "continue" else name): value for name, value in answer.items()}
