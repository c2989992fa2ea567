"""What was stopped, and how far that has reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Froze:
    """An agent, a purpose, a tool, a secret, an environment, an owner's estate or everything was stopped: nothing below it
    is permitted after this.
    """

    reach: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class FreezeReached:
    """The last open task and the last credential below this freeze are dead, so many ms after it began."""

    reach: str
    name: str
    took: int


@dataclass(frozen=True, slots=True)
class Unfroze:
    """It may act again; the tasks that the freeze ended stay ended."""

    reach: str
    name: str
    reason: str
