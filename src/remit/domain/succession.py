"""Who answers for an agent or a purpose when its owner does not: one of those who are asked takes over, or it stops.

OPEN ──► TAKEN      somebody who was asked answers for it from here on
     ├─► STOPPED    nobody did in time, and it is frozen
     └─► OVER       nobody is missing any more: the owner is here, or the catalogue names somebody else
STOPPED ──► TAKEN, OVER     TAKEN ──► OVER, and begun anew when that person leaves too

The catalogue stays what is true: who took over answers until it names them, or somebody else.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from enum import Enum

from .accountability import Terms
from .errors import WrongState
from .freeze import Reach
from .identity import Agent, Person
from .purpose import Purpose


class Missing(Enum):
    """Why somebody else is asked: the owner left, or never said that they answer for it."""

    LEFT = "left"
    UNCONFIRMED = "unconfirmed"


class SuccessionState(Enum):
    """OPEN and STOPPED wait for somebody."""

    OPEN = "open"
    TAKEN = "taken"
    STOPPED = "stopped"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Succession:
    """Row, keyed by what it is about (`agent bot`). `owner` is whom the catalogue names, `asked` who may take over now,
    `path` who is still to be asked, one each `every` ms and next at `next_at` (0: nobody). At `until` it stops. In ms.
    """

    reach: Reach
    name: str
    owner: str
    missing: Missing
    began_at: int
    until: int
    asked: tuple[str, ...]
    path: tuple[str, ...] = ()
    every: int = 0
    next_at: int = 0
    state: SuccessionState = SuccessionState.OPEN
    heir: str = ""
    taken_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return f"{self.reach.value} {self.name}"

    @property
    def waits(self) -> bool:
        """Whether somebody can still take over."""
        return self.state in (SuccessionState.OPEN, SuccessionState.STOPPED)

    @property
    def due(self) -> int:
        """When the next is asked, or it stops; 0: nothing is due."""
        if self.state is not SuccessionState.OPEN:
            return 0
        return min(self.next_at or self.until, self.until)

    def of_who_is_back(self, gone: Container[str]) -> bool:
        """Whether the owner had left, and is here again."""
        return self.missing is Missing.LEFT and self.owner not in gone

    def may_take(self, person: Person) -> bool:
        """Whether they are among those who are asked."""
        return not {person.name, *person.groups}.isdisjoint(self.asked)

    def answers_for(self, owner: str) -> str:
        """Who answers for a thing whose owner the catalogue says is this."""
        return self.heir if self.state is SuccessionState.TAKEN and self.owner == owner else owner

    def next_asked(self, now: int) -> Succession:
        """One more may take over."""
        first, *rest = self.path
        return replace(
            self, asked=(*self.asked, first), path=tuple(rest), next_at=now + self.every if rest and self.every else 0
        )

    def taken(self, person: str, now: int) -> Succession:
        """They answer for it."""
        if not self.waits:
            raise WrongState(f"nobody is asked to answer for {self.key} any more")
        return replace(self, state=SuccessionState.TAKEN, heir=person, taken_at=now, next_at=0)

    def stopped(self) -> Succession:
        """Nobody did in time."""
        return replace(self, state=SuccessionState.STOPPED, next_at=0)

    def over(self) -> Succession:
        """Nobody is missing any more."""
        return replace(self, state=SuccessionState.OVER, next_at=0)


Thing = Agent | Purpose


def reach_of(thing: Thing) -> Reach:
    """What a freeze of it is called."""
    return Reach.AGENT if isinstance(thing, Agent) else Reach.PURPOSE


def missing(
    thing: Thing, row: Succession | None, people: Container[str], gone: Container[str], terms: Terms
) -> Missing | None:
    """Who is missing now; None when somebody who is here answers for it."""
    taken = row is not None and row.state is SuccessionState.TAKEN and row.owner == thing.owner
    heir = row.heir if row is not None and taken else ""
    if heir and heir in people and heir not in gone:
        return None
    if thing.owner in gone:
        return Missing.LEFT
    return Missing.UNCONFIRMED if terms.confirm and not heir else None


def begun(thing: Thing, why: Missing, gone: Container[str], terms: Terms, now: int) -> Succession:
    """Ask the first of its path who is here; for an owner who never confirmed, that is the owner."""
    first = (thing.owner,) if why is Missing.UNCONFIRMED else ()
    names = dict.fromkeys((*first, *filter(None, (thing.deputy,)), *thing.escalation))
    path = tuple(name for name in names if name not in gone and (name != thing.owner or first))
    row = Succession(reach_of(thing), thing.name, thing.owner, why, now, now + terms.grace, (), path, terms.ask_every)
    return row.next_asked(now) if path else row
