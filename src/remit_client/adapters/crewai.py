"""crewAI: hooks around every tool call of this process. Grade: *hook*.

    remove = install(guard)

crewAI swallows whatever a hook raises and runs the tool, so nothing leaves these hooks but an answer. It has no pause:
a held call is told to the model, which calls again when people agreed. Install it after other hooks: one that comes
later could still change the arguments.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from crewai.hooks import (
    ToolCallHookContext,
    register_after_tool_call_hook,
    register_before_tool_call_hook,
    unregister_after_tool_call_hook,
    unregister_before_tool_call_hook,
)

from ..contract import NOTHING_DONE, Deny, Pending, ToolCall, withheld
from ..gate import Guard


class _Hooks:
    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._lock = threading.Lock()
        # By the arguments' identity, which crewAI hands to both hooks: kept here, so it cannot be another's meanwhile.
        self._open: dict[int, tuple[object, str]] = {}

    def before(self, context: ToolCallHookContext) -> bool:
        """False blocks. Every way out is a plain answer."""
        said = f"Denied: this call cannot be decided. {NOTHING_DONE}"
        try:
            verdict = self._guard.decide(ToolCall(context.tool_name, context.tool_input))
            said = verdict.text if isinstance(verdict, Deny | Pending) else ""
        except BaseException:
            return False
        finally:
            with self._lock:
                self._open[id(context.tool_input)] = (context.tool_input, said)
        return not said

    def after(self, context: ToolCallHookContext) -> str | None:
        """What takes the result's place: why it did not run, or that it is withheld."""
        text = withheld(str(context.tool_name))
        try:
            with self._lock:
                _, said = self._open.pop(id(context.tool_input), (None, text))
            if said:
                return said
            call = ToolCall(context.tool_name, context.tool_input)
            return self._guard.observe(call, context.tool_result) or None
        except BaseException:
            return text


def install(guard: Guard | None = None) -> Callable[[], None]:
    """From now on, for every crew in this process; returns what takes the hooks out again."""
    hooks = _Hooks(guard or Guard())
    register_before_tool_call_hook(hooks.before)
    register_after_tool_call_hook(hooks.after)

    def remove() -> None:
        unregister_before_tool_call_hook(hooks.before)
        unregister_after_tool_call_hook(hooks.after)

    return remove
