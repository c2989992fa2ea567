"""Edges: what they are entrusted with at the centre, and what they keep in their own logs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EdgeJoined:
    """An edge came with a store of its own; `replaces` is the incarnation that was here before, or empty."""

    edge: str
    seat: str
    replaces: str


@dataclass(frozen=True, slots=True)
class EdgeReported:
    """Places `first` up to `through` of an edge's log hold what concerns that edge alone: they are counted."""

    edge: str
    seat: str
    first: int
    through: int


@dataclass(frozen=True, slots=True)
class EdgeReportRefused:
    """This place of an edge's log holds nothing that this edge may report: its log is taken in no further."""

    edge: str
    seat: str
    index: int
    flaw: str


@dataclass(frozen=True, slots=True)
class EdgeForgotten:
    """An edge is gone for good; the tasks it held have been ended."""

    edge: str
    seat: str
    tasks: int
    reason: str


@dataclass(frozen=True, slots=True)
class TaskEntrusted:
    """From here on this edge decides the task's calls."""

    task: str
    agent: str
    edge: str
    seat: str


@dataclass(frozen=True, slots=True)
class TaskRecalled:
    """Its edge is to report and return the task, because of what was asked for here."""

    task: str
    agent: str
    edge: str
    reason: str


@dataclass(frozen=True, slots=True)
class TaskReturned:
    """The centre decides the task's calls again; the edge's log was taken in up to `through`."""

    task: str
    agent: str
    edge: str
    through: int


@dataclass(frozen=True, slots=True)
class Followed:
    """At an edge: the centre's log was applied up to `size`; that many tasks ended and are recalled."""

    size: int
    catalogue: str
    ended: int
    recalled: int


@dataclass(frozen=True, slots=True)
class TaskTaken:
    """At an edge: it decides this task's calls from here on."""

    task: str
    agent: str
    size: int


@dataclass(frozen=True, slots=True)
class TaskLetGo:
    """At an edge: it decides no more calls of this task, and reports what there is."""

    task: str
    agent: str
    reason: str


@dataclass(frozen=True, slots=True)
class AccessKeyLearned:
    """At an edge: whose bearer key this is, and until when, as the centre said."""

    kind: str
    name: str
    digest: str
    expires_at: int
