"""Everything that the checker looks at, once all is quiet: what was told, what is written, what is alive."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .history import Op


@dataclass(frozen=True)
class Entry:
    """One event of a log, in its place; `leaf` is the text that is hashed."""

    place: int
    leaf: bytes

    @cached_property
    def said(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.leaf)
        return found

    @property
    def kind(self) -> str:
        return str(self.said["type"])

    @property
    def data(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.said["data"]
        return found

    @property
    def trace(self) -> str:
        return str(self.said["trace"])

    @property
    def permits(self) -> bool:
        return self.kind == "AccessDecided" and self.data["decision"] == "permit"

    def wrote(self, kind: str) -> int:
        """The version of the row of this kind that it wrote; 0: none."""
        return next((int(version) for name, _, version, _ in self.said["writes"] if name == kind), 0)


@dataclass(frozen=True)
class Head:
    """A checkpoint whose signature was verified."""

    size: int
    root: bytes


@dataclass(frozen=True)
class Sighting:
    """A credential that the issuer's server knew while its lease had been ENDED, or was never there."""

    role: str
    lease: str


@dataclass
class Evidence:
    """`replicas` and `edges` are doors; an edge's value is its bound in ms by effect word. Rows are as stored.

    `heads` are all that anybody ever saw, by whom; `head` is the last. `unplaced` events have no place in the log.
    `roles` is what the issuer's server says is alive at the end, `recovered` how many seconds after the last fault each
    door permitted a call again (None: it did not). `edge_logs` are the edges' own.
    """

    ops: Sequence[Op]
    log: Sequence[Entry]
    replicas: Sequence[str]
    edges: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    edge_logs: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    heads: Sequence[tuple[str, Head]] = ()
    head: Head = Head(0, b"")
    unplaced: int = 0
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    leases: Sequence[Mapping[str, Any]] = ()
    roles: frozenset[str] = frozenset()
    sightings: Sequence[Sighting] = ()
    replayed: Sequence[str] = ()
    recovered: Mapping[str, float | None] = field(default_factory=dict)

    @cached_property
    def by_trace(self) -> Mapping[str, Sequence[Entry]]:
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.log:
            if entry.trace:
                found[entry.trace].append(entry)
        return found

    @cached_property
    def by_task(self) -> Mapping[str, Sequence[Entry]]:
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.log:
            if "task" in entry.data:
                found[entry.data["task"]].append(entry)
        return found

    @cached_property
    def opened(self) -> Mapping[str, Op]:
        return {op.task: op for op in self.ops if op.kind == "open" and op.said == "ok"}

    def events(self, op: Op, kind: str) -> list[Entry]:
        """What the log has of one request."""
        return [entry for entry in self.by_trace.get(op.trace, ()) if entry.kind == kind]


@dataclass(frozen=True)
class Violation:
    """A law broken, and the request or task it was seen by."""

    rule: str
    said: str
    task: str = ""
    op: Op | None = None
