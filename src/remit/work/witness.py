"""Witness: have each witness cosign a new checkpoint, at most so often, and keep what they say.

Nothing waits for a witness. One that says that the log is not the one it knows is an alarm: it has cosigned a history
that this is no continuation of, or a longer one than there is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Conflict, ProofInvalid, Refusal
from remit.domain.out import Mark, Witness
from remit.formats import tlog_witness as wire
from remit.formats.tlog import COSIGNATURE, NoteKey
from remit.govern.out import COSIGNED
from remit.log import tiles
from remit.ports import Ask, Env, LogReader, Marks

from .kill_leases import attempt

EVERY = 10.0  # s between two checkpoints that witnesses are asked about
SYSTEM = Caller(CallerKind.SYSTEM, "witness")


class Store(LogReader, Marks, Protocol):
    """What is needed of a store."""


class Witnessing:
    """`once` is one round: everybody is asked about the same checkpoint, so that their cosignatures come together."""

    def __init__(self, env: Env, store: Store, ask: Callable[[str], Ask]) -> None:
        self._env, self._store, self._ask = env, store, ask

    async def once(self) -> bool:
        """Always False: the next round is when it is time."""
        _, force = await self._env.in_force()
        witnesses = force.catalogue.witnesses
        size, note = await self._store.head()
        if not witnesses or not size:
            return False
        marks, now = await self._store.marks(), self._env.clock()
        due = []
        for one in witnesses.values():
            mark = marks.get(one.mark) or Mark(one.mark)
            if now >= mark.due and (mark.position < size or mark.failing):
                due.append((one, mark))
        lines = await asyncio.gather(*(self._asked(one, mark, size, note) for one, mark in due))
        if any(lines):
            keep = marks.get(COSIGNED) or Mark(COSIGNED)
            found = wire.joined(note, [line for line in lines if line])
            with_this = replace(keep.reached(size, now), notes=best((*keep.notes, found)))
            try:
                await self._store.mark(with_this)
            except Conflict:
                return False
        return False

    async def _asked(self, one: Witness, mark: Mark, size: int, note: str) -> str:
        """Its line; empty when it gave none, which is written down."""
        now = self._env.clock()
        try:
            said = await self._add(one, mark.position if mark.position <= size else 0, size, note)
            if 0 <= said.size <= size:
                said = await self._add(one, said.size, size, note)
            if said.size > size:
                raise wire.Refused(f"it has cosigned {said.size} events, and here are {size}")
            if not said.line:
                raise ProofInvalid("it does not know what it has cosigned")
            after = mark.reached(size, now)
        except wire.Refused as refused:
            after = replace(mark.failed(now, f"refused: {refused}"), refused=mark.refused or now)
            if not mark.refused:
                because = events.WitnessRefused(one.name, size, str(refused))
                await attempt(self._env, Change(because, Call(SYSTEM, now)))
        except Refusal as failure:
            after = mark.failed(now, failure.inside or failure.message)
        try:
            await self._store.mark(after)
        except Conflict:
            return ""
        return "" if after.failing else said.line

    async def _add(self, one: Witness, old: int, size: int, note: str) -> wire.Cosigned:
        path = []
        if 0 < old < size:
            path = await tiles.with_tiles(lambda read: tiles.consistency_proof(old, size, read), self._store.tile)
        answer = await self._ask(one.authority)(
            "POST",
            one.url.rstrip("/") + "/add-checkpoint",
            content=wire.request(old, path, note),
            headers={"Content-Type": wire.MEDIA, "Accept": "*/*"},
            allow_private=one.allow_private_network,
        )
        key = NoteKey.parse(one.key, COSIGNATURE)
        return wire.answer(answer.status, answer.headers, answer.body, note, key, self._env.clock() // 1000)


def best(notes: tuple[str, ...]) -> tuple[str, ...]:
    """For every number of cosignatures the newest checkpoint with so many, the newest of all first."""
    found: list[tuple[int, int, str]] = []
    for size, count, note in sorted(((_size(n), n.count("\n— "), n) for n in notes), reverse=True):
        if all(count > more for _, more, _ in found):
            found.append((size, count, note))
    return tuple(note for _, _, note in found)


def _size(note: str) -> int:
    return int(note.split("\n", 2)[1])
