"""What `remit run` answers the hooks of the command it runs: decided with the task's own key, which they never have."""

from __future__ import annotations

from typing import Any

from ..contract import Deny, Pending, ToolCall
from ..gate import Guard
from ..hooks import claude_code as claude
from ..sync import Task


class Hooks:
    """One run's hooks; what they ask is one task's."""

    def __init__(self, task: Task) -> None:
        self._guard = Guard(task)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Claude Code's event in, what it is to read out; an error is for `remit-hook`, which then blocks."""
        if request.get("hook") != "claude-code":
            return {"error": "Only the hooks of claude-code are known here."}
        try:
            event = claude.read(request.get("event"))
        except ValueError as flaw:
            return {"error": f"The event cannot be understood: {flaw}."}
        call = ToolCall(event.tool, event.arguments, event.id)
        if not event.before:
            return claude.after(event, self._guard.observe(call, event.result))
        verdict = self._guard.decide(call)
        if isinstance(verdict, Deny | Pending):
            held = "defer" if request.get("held") == "defer" and isinstance(verdict, Pending) else "deny"
            return claude.before(held, verdict.text)
        return claude.before("allow", " ".join(verdict.why))
