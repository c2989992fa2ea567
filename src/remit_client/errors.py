"""What can go wrong; every message says what to do next, and every one of them means the action must not happen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class RemitError(Exception):
    """The root. `code` is Remit's stable code (`remit explain CODE`), empty when no server said one."""

    def __init__(self, message: str, *, code: str = "", next_step: str = "") -> None:
        super().__init__(f"{message} {next_step}".strip())
        self.message = message
        self.code = code
        self.next_step = next_step


class Unreachable(RemitError):
    """No answer, or not in time. The action must not happen."""


class NotAuthenticated(RemitError):
    """This agent did not prove who it is."""


class NotFound(RemitError):
    """Not there, or not this agent's."""


class Refused(RemitError):
    """The request was not acceptable; `field` names what was wrong, if one field was."""

    def __init__(self, message: str, *, code: str = "", next_step: str = "", field: str = "") -> None:
        super().__init__(message, code=code, next_step=next_step)
        self.field = field


_NEXT_STEPS = {
    "absent": "Ask which purposes are this agent's.",
    "agent_frozen": "Ask the agent's owner; trying again will not help.",
    "approval_expired": "Call again to ask again.",
    "approval_refused": "A person said no to exactly this; ask them what they would agree to.",
    "bad_arguments": "Correct the arguments and call again.",
    "needs_approval": "Only a call can wait for a person: make what needs one a call, or ask the purpose's owner.",
    "out_of_scope": "Stay within what the task names, or ask for a task that covers this.",
    "policy_forbids": "Ask the purpose's owner; trying again will not help.",
    "policy_silent": "Ask the purpose's owner; trying again will not help.",
    "tool_changed": "Ask an operator to review the tool as it is now.",
    "tool_unknown": "Ask an operator to review the tool.",
}


class Denied(RemitError):
    """A decision said no. `reasons` are stable codes such as `out_of_scope`."""

    def __init__(self, message: str, *, reasons: Sequence[str] = (), code: str = "", next_step: str = "") -> None:
        step = next_step or next((_NEXT_STEPS[reason] for reason in reasons if reason in _NEXT_STEPS), "")
        super().__init__(message, code=code, next_step=step)
        self.reasons = tuple(reasons)


class Held(RemitError):
    """A person has not answered yet. Calling again with exactly the same arguments resumes."""

    def __init__(self, message: str, *, approval: str, url: str, approvers: Sequence[str] = ()) -> None:
        super().__init__(message, next_step=f"See {url}; then call again with exactly the same arguments.")
        self.approval = approval
        self.url = url
        self.approvers = tuple(approvers)


def of_problem(status: int, body: Mapping[str, Any]) -> RemitError:
    """An error document (RFC 9457, or RFC 6749 section 5.2) as an exception."""
    message = str(body.get("detail") or body.get("error_description") or f"the server answered {status}")
    code, step = str(body.get("code", "")), str(body.get("next_step") or "")
    if status == 401:
        return NotAuthenticated(message, code=code, next_step=step)
    if status == 403:
        found = body.get("reasons")
        reasons = [str(reason) for reason in found] if isinstance(found, list) else []
        return Denied(message, reasons=reasons, code=code, next_step=step)
    if status == 404:
        return NotFound(message, code=code, next_step=step)
    if status >= 500 or status == 429:
        return Unreachable(message, code=code, next_step=step)
    return Refused(message, code=code, next_step=step, field=str(body.get("field", "")))
