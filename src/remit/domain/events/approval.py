"""What people were asked, and what they answered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApprovalAnswered:
    """A person said yes or no to exactly this digest."""

    approval: str
    task: str
    digest: str
    person: str
    yes: bool
    state: str


@dataclass(frozen=True, slots=True)
class ApprovalExpired:
    """Nobody answered, or nobody used the answer, in time."""

    approval: str
    task: str
