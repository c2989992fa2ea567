"""The centre, as an edge sees it, and the edges, as the centre sees them. Messages are those of `formats.estate`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from remit.domain.caller import AccessKey, Call
from remit.domain.estate import EdgeSeen
from remit.domain.flow import Json
from remit.domain.identity import Identity
from remit.domain.origin import Observation
from remit.domain.task import Task
from remit.formats.estate import Frame, Signed

if TYPE_CHECKING:
    import asyncio


@dataclass(frozen=True, slots=True)
class Heard:
    """The answer to a beat: the statement, and how far this edge's log has been taken in."""

    statement: Signed
    received: int


@dataclass(frozen=True, slots=True)
class Handed:
    """A task, in the statement's body, and the key (32 bytes) that digests what it reads: that goes to nobody else."""

    statement: Signed
    memory: bytes


@dataclass(frozen=True, slots=True)
class Reported:
    """One event of an edge's log at its place, as its leaf bytes, and the bodies of the rows that it wrote."""

    index: int
    leaf: bytes
    bodies: Sequence[bytes]


class Centre(Protocol):
    """How an edge reaches the centre. Every call is bounded in time and size; `Unavailable` when there is no answer."""

    async def snapshot(self, nonce: str, seat: str) -> Signed:
        """What is in force now; its `size` is where frames go on from. `seat` is the incarnation that asks."""
        ...

    async def catalogue(self, digest: str) -> Mapping[str, str]:
        """The files of one revision, unverified: their digest must be this one."""
        ...

    async def frames(self, since: int) -> Sequence[Signed]:
        """Frames from `since` on, without gaps, as far as one answer goes; none at the end of the log."""
        ...

    def pushed(self, since: int) -> AsyncGenerator[Signed]:
        """Frames as they come. It may begin late, end, repeat itself or leave something out: then ask for `frames`."""
        ...

    async def beat(self, nonce: str, seen: EdgeSeen) -> Heard:
        """How long the log is, at least, counting all that was committed before this was asked."""
        ...

    async def entrust(self, task: str, seat: str, nonce: str) -> Handed:
        """Take this task; the same again while it is held. `NotEntrusted`, `Absent`."""
        ...

    async def give_back(self, task: str, seat: str, through: int) -> None:
        """Return a task: everything before `through` in this edge's log has been reported, and nothing after it.

        Twice is fine. The centre refuses (`Stale`) when it has taken in more or less than that, so what was sent
        before and comes late returns nothing that was taken again since.
        """
        ...

    async def report(self, seat: str, events: Sequence[Reported]) -> int:
        """Report a stretch of this edge's log; returns how far it has been taken in, which may be less."""
        ...

    async def call(self, path: str, body: Json, trace: str) -> tuple[int, Json]:
        """Pass a request of somebody whom the edge has authenticated on to the centre: status and answer.

        `trace` is that request's (W3C trace id), or empty.
        """
        ...

    async def access_key(self, digest: str) -> AccessKey | None:
        """Whose bearer key has this digest, if it is an enforcement point's."""
        ...


class Bus(Protocol):
    """What carries frames beside the centre itself. Nothing is believed because it came that way, nor missed long."""

    def subscribed(self, trust_domain: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Within, the newest message and all that come; `Unavailable` when it is not reached. They end when it is lost.

        Unverified, and bounded: what is too large is empty.
        """
        ...


class Stream(Protocol):
    """Where the centre puts frames for those who follow it by `Bus`: numbered, in order. `Unavailable` when away."""

    async def last(self) -> tuple[int, bytes]:
        """The number of the last message and what it is, unverified; empty if it is not there any more."""
        ...

    async def put(self, wire: bytes, name: str, after: int) -> int:
        """Put this after number `after`, and nowhere else, unless what has this `name` is there; returns its number.

        `Conflict` when `after` is not the last; `TooLarge` when this is carried by no message.
        """
        ...

    async def close(self) -> None:
        """Leave."""
        ...


class Pushes(Protocol):
    """What the centre pushes, as the server has it for everybody."""

    def listen(self, edge: str) -> asyncio.Queue[Frame | None]:
        """All frames from now on; None when there are no more."""
        ...

    def leave(self, queue: asyncio.Queue[Frame | None]) -> None:
        """Hear no more."""
        ...

    async def pages(self, since: int) -> Sequence[Frame]:
        """Frames from `since` on, without gaps, as far as one answer goes; none at the end of the log."""
        ...


class Place(Protocol):
    """What an edge's own surface needs of the reconcilers behind it."""

    @property
    def url(self) -> str:
        """Where agents reach it, as the catalogue in force says; empty while there is none."""
        ...

    async def take(self, task: str) -> None:
        """Hold this task. `NotEntrusted`: the centre decides it; `Absent`; `Unavailable`: nobody can be asked."""
        ...

    async def bring_home(self, call: Call, task: str, reason: str) -> None:
        """Let go of this task, and return when the centre decides it again; `Unavailable` when that takes long."""
        ...

    def must_be_heard(self) -> None:
        """`Unavailable` when too much of what was decided here has not been reported."""
        ...

    async def pass_on(self, path: str, body: Json, trace: str) -> Json:
        """Have the centre answer, as part of the same trace; what it refuses is raised."""
        ...

    async def access_key(self, digest: str, now: int) -> AccessKey | None:
        """Whose bearer key this is, as far as it is known here or the centre can be asked."""
        ...

    def status(self) -> dict[str, Any]:
        """What there is to say of this edge, in plain words and numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Entrusted:
    """A task as its home has it, who may act for it, and all that it has read."""

    task: Task
    identity: Identity
    observations: Sequence[Observation]


class Edges(Protocol):
    """What edges last said of themselves: telemetry that every replica can read, and no part of the log."""

    async def saw(self, found: Sequence[EdgeSeen]) -> None:
        """Keep the newest for each edge."""
        ...

    async def seen(self) -> Sequence[EdgeSeen]:
        """The newest of every edge, by name."""
        ...

    async def newest_event(self, through: int = 2**62) -> int:
        """The highest number, at most `through`, of an event that has no place in the log yet; 0 when every one has."""
        ...
