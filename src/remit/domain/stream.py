"""What other systems are told (Shared Signals 1.0): who may be told what, and how far each of them has been.

    stream:  ENABLED ◄──► PAUSED      nothing is sent and nothing is lost
                 ◄──────► DISABLED    nothing is sent, and what happens meanwhile never will be

A stream is a position in the log: every event below it was acknowledged by the receiver or is not for it. So what was
sent can be worked out again from the log, and nothing has to be kept to be sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from .flow import Json

PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"
VERIFY_EVERY = 30_000  # ms
INACTIVE = 7 * 86_400_000  # ms
HEARD_EVERY = 3_600_000  # ms
WINDOW = 1000  # events that are out and not acknowledged
MOST_SUBJECTS = 1000


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who may be told, and what: of tokens for `audiences`, of what `agents` do, or everything. Reviewed, in the
    catalogue; `audience` is what its events are for.
    """

    name: str
    audience: str
    audiences: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    everything: bool = False
    allow_private_network: bool = False


class StreamState(Enum):
    """Only ENABLED sends; GONE was deleted."""

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Stream:
    """Row: one for each receiver, keyed by its name. `kinds` are the events it asked for.

    `position` is the first place of the log that is not done with; `acked` are places beyond it that are. `url` is
    where events are pushed to, with `authorization` under an envelope as the header; empty: they are polled.
    `unwanted` are subjects that were removed. `failing` is since when pushes fail, after `attempts`; `due` when the
    next is made. `heard_at` is when the receiver last did anything, to within an hour. In ms.
    """

    receiver: str
    id: str
    made_at: int
    position: int
    kinds: tuple[str, ...]
    url: str = ""
    authorization: str = field(default="", repr=False)
    description: str = ""
    state: StreamState = StreamState.ENABLED
    reason: str = ""
    unwanted: tuple[Mapping[str, Json], ...] = ()
    acked: tuple[int, ...] = ()
    attempts: int = 0
    failing: int = 0
    due: int = 0
    error: str = ""
    heard_at: int = 0
    verified_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.receiver

    @property
    def context(self) -> bytes:
        """What its envelope is bound to: this receiver, and this address."""
        return f"stream:{self.id}:{self.url}".encode()

    @property
    def open(self) -> bool:
        """It is there, for its receiver."""
        return self.state is not StreamState.GONE

    @property
    def numbering(self) -> bytes:
        """The context of the key that its events' ids are made with: places would tell how much else happens."""
        return f"events of stream:{self.id}".encode()

    def turned(self, state: StreamState, reason: str, head: int) -> Stream:
        """In another state; `head` is the size of the log. What happened while it was disabled is skipped."""
        position = head if self.state is StreamState.DISABLED and state is not StreamState.DISABLED else self.position
        after = replace(self, state=state, reason=reason, position=position, attempts=0, failing=0, due=0, error="")
        return replace(after, acked=tuple(place for place in self.acked if place >= position))

    def reached(self, position: int, acked: tuple[int, ...] = ()) -> Stream:
        """Everything below is done with."""
        left = tuple(place for place in acked if place >= position)
        return replace(self, position=position, acked=left, attempts=0, failing=0, due=0, error="")

    def failed(self, now: int, error: str) -> Stream:
        """A push was not acknowledged: again after 1, 2, 4 … 300 s, and never dropped."""
        delay = min(300_000, 1_000 * 2 ** min(self.attempts, 10))
        failing = self.failing or now
        return replace(self, attempts=self.attempts + 1, failing=failing, due=now + delay, error=error[:200])

    def wants(self, subject: Mapping[str, Json]) -> bool:
        """Whether it was not removed."""
        return not any(matches(one, subject) for one in self.unwanted)

    def inactive_at(self, now: int) -> bool:
        """Nobody has been there for long: no poll, or no push that was taken."""
        since = self.failing if self.url else self.heard_at
        return bool(since) and now - since > INACTIVE


def matches(one: Mapping[str, Json], other: Mapping[str, Json]) -> bool:
    """Shared Signals 1.0, section 8.1.3.1: complex subjects match where neither says otherwise, others if the same."""
    if one.get("format") != "complex" or other.get("format") != "complex":
        return one == other
    return all(one[name] == other[name] for name in one.keys() & other.keys())


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What an event of the log is to others. `audiences` and `agent` are whom it concerns; `public`: anybody.

    `stream` is the one that it is about. `detailed` is what only a receiver of everything is told besides.
    """

    kind: str
    subject: Mapping[str, Json]
    details: Mapping[str, Json]
    at: int
    agent: str = ""
    audiences: frozenset[str] = frozenset()
    public: bool = False
    stream: str = ""
    detailed: Mapping[str, Json] = field(default_factory=dict)

    def is_for(self, stream: Stream, receiver: Receiver) -> bool:
        """Whether this receiver may be told, and asked to be."""
        if self.stream:
            return self.stream == stream.id
        concerns = self.public or receiver.everything or self.agent in receiver.agents
        concerns = concerns or not self.audiences.isdisjoint(receiver.audiences)
        return concerns and self.kind in stream.kinds and stream.wants(self.subject)
