"""Somebody who is here no more: begins nothing, answers nothing, and what they began ends.

Whoever says so, it is this row; what it ends is judged from it, where tasks are proposed, act, and are looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .change import Change
from .errors import WrongState
from .redecision import Redecision


@dataclass(frozen=True, slots=True)
class Departure:
    """Row, keyed by the person. `back_at` (ms): they are here again since then; 0: they are not. `over_until` (ms):
    what they began until then is over, whether they are here or not.

    A row that was never written is of somebody who never left.
    """

    person: str
    left_at: int = 0
    by: str = ""
    reason: str = ""
    back_at: int = 0
    over_until: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.person

    @property
    def gone(self) -> bool:
        """Whether they are not here."""
        return self.left_at > 0 and not self.back_at

    def ended(self, opened_at: int) -> str:
        """Why a task of theirs that was opened then may not be open; empty when it may."""
        if self.gone:
            return f"{self.person}, who began it, has left."
        return f"What {self.person} began before they were signed out is over." if opened_at <= self.over_until else ""

    def over(self, until: int) -> Departure:
        """What they began until then is over; it never becomes less."""
        return replace(self, over_until=max(self.over_until, until))

    def left(self, now: int, by: str, reason: str) -> Departure:
        """They left, for the first time or again."""
        return replace(self, left_at=now, by=by, reason=reason, back_at=0)

    def returned(self, now: int) -> Departure:
        """They are here again; what ended stays ended."""
        if not self.gone:
            raise WrongState(f"{self.person} has not left")
        return replace(self, back_at=now)


def written(change: Change, was: Departure, now: Departure, redecision: str, cause: str, at: int) -> Change:
    """The one way in which what a person began ends: the row, and that their open tasks are decided again by it."""
    places = (("initiator", f"person:{was.person}"),)
    return change.put(now, was=was).put(Redecision(redecision, cause, at, places, {}), was=None)
