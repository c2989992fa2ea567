"""What a task is asked for in, or is open in, as read at one instant: what its beginning is judged by, beside the
catalogue and the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .above import Above
from .change import Change
from .departure import Departure
from .identity import Identity
from .posture import Posture


@dataclass(frozen=True, slots=True)
class Context:
    """Of one task: what its key proved, everybody above it with all that is frozen, whether the person who began it has
    left (nobody's departure, where no person did), and what is known of its agent's surroundings.
    """

    identity: Identity | None
    above: Above
    departure: Departure
    posture: Posture

    def proved(self, now: int) -> Context:
        """As if its key proved the same again now. That a proof is old ends nothing: attesting again heals it, and each
        call is denied until then.
        """
        return replace(self, identity=self.identity.renewed(now)) if self.identity else self

    def guard(self, change: Change) -> Change:
        """Commit only while nothing of it has become stricter."""
        change = self.above.guard(change).check(self.posture)
        return change.check(self.departure) if self.departure.person else change
