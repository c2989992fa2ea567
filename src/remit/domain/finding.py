"""What was found out about an agent, a tool, a secret or a task, by a person, an enforcement point or a scanner.

    OPEN ──► RESOLVED

An open one that is as severe as the catalogue says stops what it is about: by a freeze, which it holds until it is
resolved, so every decision sees it; a task just ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, IntEnum

from .errors import WrongState


class Severity(IntEnum):
    """How bad it is, if it is so."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        """`low`, `medium`, `high` or `critical`."""
        return self.name.lower()


class Subject(Enum):
    """What a finding is about. SECRET: by its name, never by what it is."""

    AGENT = "agent"
    TOOL = "tool"
    SECRET = "secret"  # noqa: S105 - a word
    TASK = "task"


class FindingState(Enum):
    """Whether it still counts."""

    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Finding:
    """Row. `evidence` is a keyed digest of what was shown for it, so that the same is known again, and nothing else is
    known of it (law 10); empty when nothing was. `stopped`: it stopped what it is about.
    """

    id: str
    severity: Severity
    subject: Subject
    name: str
    title: str
    found_at: int
    found_by: str
    evidence: str = ""
    stopped: bool = False
    state: FindingState = FindingState.OPEN
    resolved_at: int = 0
    resolved_by: str = ""
    note: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.id

    @property
    def about(self) -> str:
        """`tool crm.export`."""
        return f"{self.subject.value} {self.name}"

    @property
    def mark(self) -> str:
        """By whom its freeze is."""
        return f"finding:{self.id}"

    def resolved(self, now: int, by: str, note: str) -> Finding:
        """It counts no more; what it ended stays ended."""
        if self.state is not FindingState.OPEN:
            raise WrongState(f"finding {self.id} is resolved already")
        return replace(self, state=FindingState.RESOLVED, resolved_at=now, resolved_by=by, note=note)
