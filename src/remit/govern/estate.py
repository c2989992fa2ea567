"""How every edge is: what it follows, how far behind, what it holds and has not reported, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from remit.domain.catalogue import Catalogue
from remit.domain.estate import Edge, EdgeLog, EdgeSeat, EdgeSeen
from remit.domain.task import Task
from remit.ports import Edges, Env, LogReader

MOST = 1000  # tasks of one edge that are looked at


class Log(LogReader, Edges, Protocol):
    """What is needed of a store."""


@dataclass(frozen=True, slots=True)
class EdgeShown:
    """One edge. What it said of itself is as old as `seen_at` (0: it never asked); times in ms.

    `lag_events` and `lag_ms`: how much of the log it had not applied when it last asked, and how old the first of that
    is. `tasks` are open and held by the incarnation that is here; `closed` are of one that is not, and nobody decides
    them. `received` of its own log is taken in here, `backlog` is what it says is not.
    """

    name: str
    url: str
    owner: str
    seat: str
    release: str
    catalogue: str
    current: bool
    seen_at: int
    bound_ms: int
    lag_events: int
    lag_ms: int
    received: int
    backlog: int
    tasks: tuple[str, ...]
    closed: tuple[str, ...]
    warnings: tuple[str, ...]


async def estate(env: Env, log: Log, now: int) -> Sequence[EdgeShown]:
    """Every edge that is in the catalogue, or ever came, by name."""
    head, force = await env.in_force()
    size, _ = await log.head()
    seen = {one.edge: one for one in await log.seen()}
    seats = {row.edge: row for row in await env.store.find(EdgeSeat, {}, limit=1000)}
    names = sorted(force.catalogue.edges.keys() | seats.keys())
    return [
        await _shown(env, log, name, force.catalogue, seats.get(name), seen.get(name), (head.at(name), size, now))
        for name in names
    ]


async def _shown(
    env: Env,
    log: Log,
    name: str,
    catalogue: Catalogue,
    here: EdgeSeat | None,
    seen: EdgeSeen | None,
    at: tuple[str, int, int],
) -> EdgeShown:
    digest, size, now = at
    entry = catalogue.edges.get(name)
    seat = here.seat if here else ""
    seen = seen if seen is not None and seen.seat == seat else None
    own = await env.store.get(EdgeLog, f"{name}/{seat}") if seat else None
    open_ = await env.store.find(Task, {"home": name, "state": "open"}, limit=MOST)
    held = tuple(task.id for task in open_ if task.seat == seat)
    closed = tuple(task.id for task in open_ if task.seat != seat)
    bound = min(entry.stale.values(), default=0) if entry else 0
    missing = max(0, size - seen.size) if seen else 0
    return EdgeShown(
        name=name,
        url=entry.url if entry else "",
        owner=entry.owner if entry else "",
        seat=seat,
        release=seen.release if seen else "",
        catalogue=seen.catalogue if seen else "",
        current=seen is not None and seen.catalogue == digest,
        seen_at=seen.seen_at if seen else 0,
        bound_ms=bound,
        lag_events=missing,
        lag_ms=now - await _written(log, seen.size) if seen and missing else 0,
        received=own.received if own else 0,
        backlog=seen.backlog if seen else 0,
        tasks=held,
        closed=closed,
        warnings=tuple(_warnings(name, entry, here, seen, own, len(closed), (bound, size, now))),
    )


async def _written(log: LogReader, index: int) -> int:
    found = await log.entries(index, index + 1)
    return int(json.loads(found[0])["at"]) if found else 0


def _warnings(
    name: str,
    entry: Edge | None,
    here: EdgeSeat | None,
    seen: EdgeSeen | None,
    own: EdgeLog | None,
    closed: int,
    at: tuple[int, int, int],
) -> list[str]:
    bound, size, now = at
    found: list[str] = []
    if entry is None and here is not None and here.seat:
        found.append("it is not in the catalogue, and is not let in")
    if here is not None and here.seat and (seen is None or now - seen.seen_at > bound):
        silent = f"{(now - seen.seen_at) // 1000} s" if seen else "since it joined"
        found.append(f"it has not asked for {silent}: by now it denies")
    if own is not None and own.refused:
        found.append(f"its log is taken in no further than {own.received}: {own.refused}")
    if closed:
        found.append(f"{closed} open tasks of an incarnation that is gone: remit estate forget {name} ends them")
    if seen is not None and seen.size > size:
        found.append("it has followed a longer log than there is here: this database was put back")
    return found
