"""Exit codes, and how an answer of the server becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Documented in `remit --help` and stable."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    DENIED = 3
    UNAUTHENTICATED = 4
    HELD = 5
    NOT_FOUND = 6
    UNREACHABLE = 7


_BY_STATUS = {401: Exit.UNAUTHENTICATED, 403: Exit.DENIED, 404: Exit.NOT_FOUND, 503: Exit.UNREACHABLE}


class Failure(Exception):
    """Something to print on standard error, and the code to leave with. `problem` is RFC 9457 when a server said it."""

    def __init__(self, message: str, exit_code: Exit = Exit.ERROR, *, next_step: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.next_step = next_step
        self.code = code
        self.problem: Mapping[str, Any] = {}

    @classmethod
    def of_problem(cls, status: int, problem: Mapping[str, Any]) -> Failure:
        """Read a problem document (RFC 9457) or an OAuth error (RFC 6749 section 5.2)."""
        code = str(problem.get("code", ""))
        exit_code = Exit.HELD if code == "RMT-3003" else _BY_STATUS.get(status, Exit.ERROR)
        detail = problem.get("detail") or problem.get("error_description") or problem.get("title")
        failure = cls(
            str(detail or f"the server answered {status}"),
            exit_code,
            next_step=str(problem.get("next_step") or ""),
            code=code,
        )
        failure.problem = problem
        return failure

    def as_json(self) -> dict[str, Any]:
        """One object with stable keys."""
        said = {
            "error": self.message,
            "code": self.code,
            "next_step": self.next_step,
            "exit": int(self.exit_code),
        }
        return {**dict(self.problem), **said}
