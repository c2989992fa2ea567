"""What a task is asked for in, or is open in, as read at one instant: what its beginning is judged by, beside the
catalogue and the time.
"""

from __future__ import annotations

from dataclasses import dataclass

from .above import Above
from .change import Change
from .identity import Identity


@dataclass(frozen=True, slots=True)
class Context:
    """Of one task: what its key proved, and everybody above it with all that is frozen."""

    identity: Identity | None
    above: Above

    def guard(self, change: Change) -> Change:
        """Commit only while nothing of it has become stricter."""
        return self.above.guard(change)
