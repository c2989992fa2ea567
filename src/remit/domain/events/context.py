"""What open tasks were permitted in, and how far they were decided again when it changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TasksRedecided:
    """After this change so many more open tasks that it concerns were looked at, and so many of them ended."""

    redecision: str
    cause: str
    looked_at: int
    ended: int


@dataclass(frozen=True, slots=True)
class RedecisionReached:
    """Every open task that this change concerns was decided again, so many ms after it."""

    redecision: str
    cause: str
    looked_at: int
    ended: int
    took: int
