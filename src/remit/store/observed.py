"""How long commits take and how they end, told to whoever wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from remit.domain.errors import Conflict

Observed: TypeAlias = Callable[[str, float], None]


def unobserved(outcome: str, seconds: float) -> None:
    """Nobody wants to know."""


class watched:  # noqa: N801 - reads as `with watched(…)`
    """Around one commit: tells `done`, `conflict` or `unavailable`, and how many seconds it took."""

    __slots__ = ("_started", "_told")

    def __init__(self, told: Observed) -> None:
        self._told = told

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        outcome = "done" if kind is None else "conflict" if issubclass(kind, Conflict) else "unavailable"
        self._told(outcome, time.perf_counter() - self._started)
