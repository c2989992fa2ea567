"""Claude Code's hook events, and answers in its words (its hooks reference, as of 2.1).

A built-in tool `WebFetch` is `claude-code.web-fetch` in the catalogue, and `mcp__github__create_issue` is
`github.create_issue`. No two names of Claude's become one of the catalogue's; a name of another form becomes none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LARGEST = 1024 * 1024
EVENTS = ("PreToolUse", "PostToolUse", "PostToolUseFailure")
_BUILT_IN = re.compile(r"[A-Z][a-z0-9]*(?:[A-Z][a-z0-9]*)*\Z")
_MCP = re.compile(r"mcp__([a-z0-9](?:[a-z0-9-]|_(?!_))*)__([a-z0-9][a-z0-9._-]*)\Z")


@dataclass(frozen=True, slots=True)
class Event:
    """`tool` is the catalogue's name; `result` what it returned, or its error, after it ran."""

    kind: str
    tool: str
    arguments: Mapping[str, Any] = field(repr=False)
    id: str
    result: Any = field(default=None, repr=False)

    @property
    def before(self) -> bool:
        """Whether the tool is yet to run."""
        return self.kind == "PreToolUse"


def read(told: object) -> Event:
    """One event; `ValueError` for what is not one that a decision or a report can be made of."""
    if not isinstance(told, Mapping):
        raise ValueError("a hook event is an object")
    kind, tool, arguments = told.get("hook_event_name"), told.get("tool_name"), told.get("tool_input")
    call = told.get("tool_use_id", "")
    if kind not in EVENTS:
        raise ValueError(f"this takes {', '.join(EVENTS)}")
    if not isinstance(tool, str) or not isinstance(arguments, Mapping) or not isinstance(call, str):
        raise ValueError("tool_name, tool_input or tool_use_id is missing or of another type")
    if kind == "PostToolUse" and "tool_response" not in told:
        raise ValueError("tool_response is missing")
    return Event(kind, catalogue_name(tool), arguments, call, told.get("tool_response", told.get("error")))


def catalogue_name(tool: str) -> str:
    """Where the catalogue has this tool; a name of no known form stays as it is, and no catalogue has that."""
    found = _MCP.match(tool)
    if found and found[1] != "claude-code":
        return f"{found[1]}.{found[2]}"
    if _BUILT_IN.match(tool):
        return "claude-code." + re.sub(r"(?<!^)([A-Z])", r"-\1", tool).lower()
    return f"?{tool}"


def before(word: str, reason: str) -> dict[str, Any]:
    """The answer to PreToolUse: `allow`, `deny`, or `defer` (headless runs stop there and can be resumed)."""
    said = {"hookEventName": "PreToolUse", "permissionDecision": word, "permissionDecisionReason": reason}
    return {"hookSpecificOutput": said}


def after(event: Event, withheld: str) -> dict[str, Any]:
    """The answer to the events after a tool ran. A result that was not accepted is replaced, and the agent stops."""
    if not withheld:
        return {}
    said: dict[str, Any] = {"continue": False, "stopReason": withheld}
    if event.kind == "PostToolUse":
        said["hookSpecificOutput"] = {"hookEventName": event.kind, "updatedToolOutput": blanked(event.result, withheld)}
    return said


def blanked(result: Any, text: str) -> Any:
    """The same shape, which Claude Code insists on for its own tools, with nothing of what it held."""
    match result:
        case Mapping():
            return {name: blanked(value, text) for name, value in result.items()}
        case list():
            return [blanked(value, text) for value in result[:1]]
        case str():
            return text
        case bool() | None:
            return result
        case _:
            return 0


def settings(hook: Mapping[str, Any], *, on_failure: str = "block") -> dict[str, Any]:
    """What goes into Claude Code's settings: every tool, before and after, and blocked when the hook fails."""
    return {"hooks": {event: [{"matcher": "*", "hooks": [{**hook, "onFailure": on_failure}]}] for event in EVENTS}}


def http_hook(url: str) -> dict[str, Any]:
    """Claude Code asks Remit itself; the key is in the environment that `remit run --hook-key` makes."""
    return {
        "type": "http",
        "url": f"{url}/v1/hooks/claude-code",
        "headers": {"Authorization": "Bearer $REMIT_HOOK_KEY"},
        "allowedEnvVars": ["REMIT_HOOK_KEY"],
        "timeout": 30,
    }


def command_hook() -> dict[str, Any]:
    """Claude Code asks the `remit run` it was started by, over its socket; there is no key at all."""
    return {"type": "command", "command": "remit-hook claude-code", "timeout": 30}
