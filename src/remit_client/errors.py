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


class Denied(RemitError):
    """A decision said no. `reasons` are stable codes such as `out_of_scope`."""

    def __init__(self, message: str, *, reasons: Sequence[str] = (), code: str = "", next_step: str = "") -> None:
        super().__init__(message, code=code, next_step=next_step)
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
        return Denied(message, reasons=body.get("reasons", ()), code=code, next_step=step)
    if status == 404:
        return NotFound(message, code=code, next_step=step)
    if status >= 500 or status == 429:
        return Unreachable(message, code=code, next_step=step)
    return Refused(message, code=code, next_step=step, field=str(body.get("field", "")))
