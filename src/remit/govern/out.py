"""Where the log goes: how far each sink and each witness has come, and what keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from remit.domain.out import Mark, Out, OutState, Sink, Witness
from remit.formats.tlog import COSIGNATURE, NoteKey
from remit.formats.tlog_witness import cosigners
from remit.ports import Env, LogReader, Marks

COSIGNED = "cosigned"


class Store(LogReader, Marks, Protocol):
    """What is needed of a store."""


@dataclass(frozen=True, slots=True)
class SinkShown:
    """`behind` is how many events it has not acknowledged, `lag` how old the first of them is, `failing` since when it
    takes nothing; in ms.
    """

    name: str
    kind: str
    format: str
    url: str
    state: str
    position: int
    behind: int
    lag: int
    failing: int
    attempts: int
    error: str
    due: int
    moved_at: int
    reason: str


@dataclass(frozen=True, slots=True)
class WitnessShown:
    """`size` is what it has cosigned last, at `cosigned_at`; `refused` since when it says that the log is another."""

    name: str
    url: str
    key: str
    size: int
    behind: int
    cosigned_at: int
    refused: int
    failing: int
    error: str


async def sinks(env: Env, store: Store, now: int) -> Sequence[SinkShown]:
    """Every sink of the catalogue."""
    _, force = await env.in_force()
    marks, (size, _) = await store.marks(), await store.head()
    return [await _sink(env, store, one, marks.get(one.mark), size, now) for one in force.catalogue.sinks.values()]


async def _sink(env: Env, store: Store, sink: Sink, mark: Mark | None, size: int, now: int) -> SinkShown:
    row = await env.store.get(Out, sink.name) or Out(sink.name)
    mark = mark or Mark(sink.mark, position=size if sink.late else 0)
    position = mark.position if mark.turn == row.turn else row.place
    first = await store.entries(position, position + 1) if position < size else ()
    state = row.state.value if row.state is OutState.PAUSED or not mark.failing else "failing"
    return SinkShown(
        sink.name,
        sink.kind.value,
        sink.form.value,
        sink.url,
        state,
        position,
        max(0, size - position),
        max(0, now - int(json.loads(first[0])["at"])) if first else 0,
        mark.failing,
        mark.attempts,
        mark.error,
        mark.due,
        mark.moved_at,
        row.reason,
    )


async def witnesses(env: Env, store: Store) -> Sequence[WitnessShown]:
    """Every witness of the catalogue."""
    _, force = await env.in_force()
    marks, (size, _) = await store.marks(), await store.head()
    return [_witness(one, marks.get(one.mark) or Mark(one.mark), size) for one in force.catalogue.witnesses.values()]


def _witness(one: Witness, mark: Mark, size: int) -> WitnessShown:
    behind = max(0, size - mark.position)
    return WitnessShown(
        one.name, one.url, one.key, mark.position, behind, mark.moved_at, mark.refused, mark.failing, mark.error
    )


async def cosigned(env: Env, store: Marks, quorum: int) -> str:
    """The newest checkpoint that so many of the catalogue's witnesses have cosigned; empty when there is none."""
    _, force = await env.in_force()
    keys = [NoteKey.parse(one.key, COSIGNATURE) for one in force.catalogue.witnesses.values()]
    marks: Mapping[str, Mark] = await store.marks()
    kept = marks.get(COSIGNED) or Mark(COSIGNED)
    return next((note for note in kept.notes if len({key.public for key in cosigners(note, keys)}) >= quorum), "")
