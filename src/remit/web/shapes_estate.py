"""The JSON shapes of what edges ask."""

from __future__ import annotations

from .shapes import Strict


class SnapshotRequest(Strict, frozen=True):
    """`nonce` is in the signed answer; `seat` is this incarnation of the edge."""

    nonce: str
    seat: str


class SeenRequest(Strict, frozen=True):
    """What an edge says of itself: `size` is the length of the log that it has applied."""

    seat: str
    size: int
    catalogue: str
    held: int
    backlog: int
    release: str
    edge: str = ""
    seen_at: int = 0


class BeatRequest(Strict, frozen=True):
    """How long is the log?"""

    nonce: str
    seen: SeenRequest


class EntrustRequest(Strict, frozen=True):
    """Take a task."""

    seat: str
    nonce: str


class ReturnRequest(Strict, frozen=True):
    """Give a task back: all before `through` in this edge's log was reported."""

    seat: str
    through: int


class ReportedRequest(Strict, frozen=True):
    """One place of an edge's log: the JSON text of its leaf, and of the rows that it wrote."""

    index: int
    leaf: str
    bodies: list[str]


class ReportsRequest(Strict, frozen=True):
    """A stretch of an edge's log."""

    seat: str
    events: list[ReportedRequest]
