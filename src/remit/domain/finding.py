"""What was found out about an agent, a tool, a secret or a task, by a person, an enforcement point or a scanner.

    OPEN ──► RESOLVED

An open one that is as severe as the catalogue says stops what it is about: by a freeze, which it holds until it is
resolved, so every decision sees it; a task or a bearer key just ends.

One that was known by the bytes that leaked (`leak`) can be contained while it is open: what can be taken back by
anybody stops at once, and what cannot waits for somebody else's yes (`approval`).
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
    """What a finding is about. SECRET: by its name, never by what it is. KEY: by the digest that it is kept under."""

    AGENT = "agent"
    TOOL = "tool"
    SECRET = "secret"  # noqa: S105 - a word
    TASK = "task"
    KEY = "key"


class FindingState(Enum):
    """Whether it still counts."""

    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Finding:
    """Row. `evidence` is a keyed digest of what was shown for it, so that the same is known again, and nothing else is
    known of it (law 10); empty when nothing was. `stopped`: it stopped what it is about. `leak` is what was recognised
    (`domain.leak`), `place` where it was seen. `reached_at` is when the last of what it contains was confirmed dead,
    and nobody is asked any more; instants in ms, 0 until then.
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
    leak: str = ""
    place: str = ""
    contained_at: int = 0
    contained_by: str = ""
    approval: str = ""
    reached_at: int = 0
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

    @property
    def due(self) -> int:
        """When its containment is to be looked at; 0: never."""
        waits = self.state is FindingState.OPEN and not self.reached_at
        return self.contained_at if waits else 0

    def contained(self, now: int, by: str, approval: str = "") -> Finding:
        """What leaked is being taken out of use; once."""
        if self.state is not FindingState.OPEN or self.contained_at:
            raise WrongState(
                f"finding {self.id} is {'contained' if self.state is FindingState.OPEN else 'resolved'} already"
            )
        return replace(self, contained_at=now, contained_by=by, approval=approval)

    def reached(self, now: int) -> Finding:
        """Nothing of it lives, and nobody is asked about it any more."""
        return replace(self, reached_at=now)

    def resolved(self, now: int, by: str, note: str) -> Finding:
        """It counts no more; what it ended stays ended."""
        if self.state is not FindingState.OPEN:
            raise WrongState(f"finding {self.id} is resolved already")
        return replace(self, state=FindingState.RESOLVED, resolved_at=now, resolved_by=by, note=note)
