"""What was stopped, and how far that has reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Froze:
    """This agent, purpose, tool, secret, environment or owner's estate, or everything, was stopped at once."""

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
