"""The task that code runs within: set by `with remit.task(…)`, seen by everything called from the block."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .aio import AsyncTask
    from .sync import Task

_CURRENT: ContextVar[Task | AsyncTask | None] = ContextVar("remit_task", default=None)


def current() -> Task | AsyncTask | None:
    """The innermost open task of this context, if there is one."""
    return _CURRENT.get()


def enter(task: Task | AsyncTask) -> Token[Task | AsyncTask | None]:
    """From now on, and in what is called from here."""
    return _CURRENT.set(task)


def leave(token: Token[Task | AsyncTask | None] | None) -> None:
    """Back to the task around it; left from another context than it was entered in, there is none."""
    if token is None:
        return
    try:
        _CURRENT.reset(token)
    except ValueError:
        _CURRENT.set(None)
