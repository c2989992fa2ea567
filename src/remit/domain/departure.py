"""Somebody who is here no more: begins nothing, answers nothing, and what they began ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .errors import WrongState


@dataclass(frozen=True, slots=True)
class Departure:
    """Row, keyed by the person. `back_at` (ms): they are here again since then; 0: they are not.

    A row that was never written is of somebody who never left.
    """

    person: str
    left_at: int = 0
    by: str = ""
    reason: str = ""
    back_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.person

    @property
    def gone(self) -> bool:
        """Whether they are not here."""
        return self.left_at > 0 and not self.back_at

    def left(self, now: int, by: str, reason: str) -> Departure:
        """They left, for the first time or again."""
        return replace(self, left_at=now, by=by, reason=reason, back_at=0)

    def returned(self, now: int) -> Departure:
        """They are here again; what ended stays ended."""
        if not self.gone:
            raise WrongState(f"{self.person} has not left")
        return replace(self, back_at=now)
