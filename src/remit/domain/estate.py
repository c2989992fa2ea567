"""The estate: the centre, and edges that decide beside agents in other networks. See docs/estate.md.

A task has one home at a time, and only its home decides its calls. What an edge was told it proves by asking: fresh is
who has applied everything that was committed before it asked, for so long after it asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .errors import WrongState
from .tool import Effect

STALE_AFTER = 5_000
LONGEST_STALE = 3_600_000
# What an edge's own log has besides what it reports: counted, so that nothing is missing, and not repeated here.
HOUSEKEEPING = frozenset(
    {
        "AccessKeyCreated",
        "AccessKeyLearned",
        "CatalogueApplied",
        "EnvelopeRewrapped",
        "Followed",
        "SigningKeyCreated",
        "SigningKeyPromoted",
        "SigningKeyReplaced",
        "SigningKeyRetired",
        "TaskEnded",
        "TaskLetGo",
        "TaskReturned",
        "TaskTaken",
    }
)


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
class EdgeSeat:
    """Row at the centre, keyed by the edge: which incarnation of it is here. An edge that lost its store has another
    `seat`, and what the former one held stays closed. Empty: the edge was forgotten, and nobody sits there.
    """

    edge: str
    seat: str
    since: int
    version: int = 0

    @property
    def key(self) -> str:
        return self.edge


@dataclass(frozen=True, slots=True)
class EdgeLog:
    """Row at the centre: how far the log of one incarnation has been taken in. There is one for every incarnation that
    ever joined, so none joins twice. `refused` is why the event at `received` was not taken in, at `refused_at` (ms).
    """

    edge: str
    seat: str
    joined_at: int
    received: int = 0
    refused: str = ""
    refused_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return f"{self.edge}/{self.seat}"

    def took(self, index: int) -> EdgeLog:
        """The event in this place is taken in; there are no gaps."""
        if index != self.received:
            raise WrongState(f"event {index} of {self.key} is not the next, which is {self.received}")
        return replace(self, received=index + 1, refused="", refused_at=0)

    def stopped(self, why: str, now: int) -> EdgeLog:
        """The next event is nothing that this edge may report, and nothing after it is looked at."""
        return replace(self, refused=why, refused_at=now)


@dataclass(frozen=True, slots=True)
class Following:
    """Row at an edge, keyed `centre`: whom it follows and how far. `size` is the length of the centre's log that is
    applied; `keys` is the JWKS, as JSON, that verifies what the centre signs; `pins` are the thumbprints (RFC 7638) of
    the keys that were trusted at the beginning.
    """

    issuer: str
    trust_domain: str
    seat: str
    keys: str
    size: int = 0
    pins: tuple[str, ...] = ()
    version: int = 0

    @property
    def key(self) -> str:
        return "centre"


@dataclass(frozen=True, slots=True)
class Held:
    """Row at an edge: a task it was entrusted with, and the sealed key that digests what that task reads.

    HELD ──► LEAVING   it decides no more of its calls
                └──► GONE   everything is reported and the task was returned, or is over; the key is forgotten

    `leaving` and `gone` are when, in ms; 0 until then. A task may be taken again once it is GONE.
    """

    task: str
    memory: str
    taken_at: int
    leaving: int = 0
    gone: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.task

    @property
    def state(self) -> str:
        return "gone" if self.gone else "leaving" if self.leaving else "held"

    def leaves(self, now: int) -> Held:
        """The edge decides nothing more for it."""
        return replace(self, leaving=now)

    def goes(self, now: int) -> Held:
        """Nothing of it is left to report; its key is forgotten."""
        return replace(self, leaving=self.leaving or now, gone=now, memory="")


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
