"""The estate: the centre, and edges that decide beside agents in other networks. See docs/estate.md.

A task has one home at a time, and only its home decides its calls. What an edge was told it proves by asking: fresh is
who has applied everything that was committed before it asked, for so long after it asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .tool import Effect

STALE_AFTER = 5_000
LONGEST_STALE = 3_600_000


@dataclass(frozen=True, slots=True)
class Edge:
    """A catalogue entry. `url` is where agents reach it; `purposes`, if any are named, are those whose tasks it may be
    given. `stale` is how long after it asked it may decide calls of each effect, in ms.
    """

    name: str
    url: str
    owner: str
    purposes: tuple[str, ...] = ()
    stale: Mapping[Effect, int] = field(default_factory=dict)

    def bound(self, effect: Effect) -> int:
        """How old what it knows may be, in ms, for a call of this effect."""
        return self.stale.get(effect, STALE_AFTER)

    def takes(self, purpose: str) -> bool:
        """Whether tasks of this purpose may be decided there."""
        return not self.purposes or purpose in self.purposes


@dataclass(frozen=True, slots=True)
class EdgeLog:
    """Row at the centre, keyed by the edge: how far its log has been taken in. `seat` is its incarnation: an edge that
    lost its store has another one, and what the former held stays closed.
    """

    edge: str
    seat: str
    joined_at: int
    received: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.edge

    def took(self, index: int) -> EdgeLog:
        """The event in this place is taken in; there are no gaps."""
        if index != self.received:
            raise ValueError(f"{index} does not follow {self.received}")
        return replace(self, received=index + 1)


@dataclass(frozen=True, slots=True)
class Following:
    """Row at an edge, keyed `centre`: whom it follows and how far. `size` is the length of the centre's log that is
    applied; `keys` is the JWKS, as JSON, that verifies what the centre signs.
    """

    issuer: str
    trust_domain: str
    seat: str
    keys: str
    size: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return "centre"


@dataclass(frozen=True, slots=True)
class Held:
    """Row at an edge: a task it was entrusted with, and the sealed key that digests what that task reads. It is there
    until the task was returned or is over and reported; `leaving` is when the edge stopped deciding for it, in ms.
    """

    task: str
    memory: str
    taken_at: int
    leaving: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.task


@dataclass(frozen=True, slots=True)
class EdgeSeen:
    """What an edge said of itself when it last asked; telemetry, by which nothing is decided. Times in ms."""

    edge: str
    seat: str
    size: int
    catalogue: str
    held: int
    backlog: int
    release: str
    seen_at: int
