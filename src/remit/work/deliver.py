"""Deliver: give every sink each event of the log, in order, and go on only when it was acknowledged.

The log is the queue: a sink that is away is a mark that does not move, and nothing else waits for it. A batch that was
acknowledged and not yet marked when a process dies is sent again. Two processes that both think it is their turn do not
take turns: whoever takes a mark over raises its version, and the other finds that out at its next write and stops.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from remit.domain.errors import Conflict, Refusal
from remit.domain.out import Mark, Out, OutState, Sink
from remit.formats.out_record import line
from remit.ports import Batch, Env, LogReader, Marks, NotTaken, Sender

BYTES = 1 << 20  # of leaves in one batch
SLICE = 16  # records that are made without letting anybody else do something
SHARE = 3  # after so much processor time, so many times as long goes by: decisions come first
_log = structlog.get_logger("remit.work")


class Store(LogReader, Marks, Protocol):
    """What is needed of a store."""


class Delivering:
    """`look` begins what there is to do and does not wait for it; `finish` does. `ours`: is it still our turn?"""

    def __init__(
        self, env: Env, store: Store, log_name: str, build: Callable[[Sink], Sender], ours: Callable[[], bool]
    ) -> None:
        self._env, self._store, self._log_name, self._build, self._ours = env, store, log_name, build, ours
        self._running: dict[str, asyncio.Task[None]] = {}
        self._senders: dict[Sink, Sender] = {}
        self._held: dict[str, Mark] = {}
        self._size: dict[str, int] = {}
        self._leaving = False

    async def look(self) -> bool:
        """One pass over the sinks; True when anything was begun."""
        _, force = await self._env.in_force()
        sinks = force.catalogue.sinks
        if not sinks:
            return False
        size, _ = await self._store.head()
        marks, now, began = await self._store.marks(), self._env.clock(), False
        for sink in sinks.values():
            mark, busy = marks.get(sink.mark) or Mark(sink.mark), self._running.get(sink.name)
            row = await self._env.store.get(Out, sink.name) or Out(sink.name)
            behind = mark.position != size or row.turn != mark.turn or not mark.version
            if (busy is not None and not busy.done()) or row.state is OutState.PAUSED or not behind or now < mark.due:
                continue
            self._running[sink.name] = asyncio.create_task(self._guarded(sink, mark, size))
            began = True
        return began

    async def finish(self) -> None:
        """Let the batches that are under way be marked."""
        self._leaving = True
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _guarded(self, sink: Sink, mark: Mark, size: int) -> None:
        try:
            await self._deliver(sink, await self._taken(sink, mark, size))
        except Conflict:
            self._held.pop(sink.name, None)  # somebody else goes on
        except Refusal as failure:
            _log.warning("delivery waits", sink=sink.name, error=type(failure).__name__, inside=failure.inside)
        except Exception as failure:
            _log.error("delivery failed", sink=sink.name, error=type(failure).__name__, exc_info=failure)

    async def _taken(self, sink: Sink, mark: Mark, size: int) -> Mark:
        """The mark, if it is ours as we left it, or else taken over."""
        held = self._held.get(sink.name)
        if held is not None and held.version == mark.version:
            return held
        if not mark.version and sink.late:
            mark = replace(mark, position=size)
        return await self._marked(sink, replace(mark, holder=mark.holder + 1))

    async def _marked(self, sink: Sink, after: Mark) -> Mark:
        self._held[sink.name] = found = await self._store.mark(after)
        return found

    async def _deliver(self, sink: Sink, mark: Mark) -> None:
        most = self._size.get(sink.name, sink.batch)
        while not self._leaving:
            row = await self._env.store.get(Out, sink.name) or Out(sink.name)
            if row.turn != mark.turn:
                mark = await self._marked(sink, replace(mark.reached(row.place, self._env.clock()), turn=row.turn))
            size, _ = await self._store.head()
            if row.state is OutState.PAUSED or mark.position == size:
                return
            if mark.position > size:
                await self._marked(sink, mark.failed(self._env.clock(), f"it had {mark.position} of {size} events"))
                return
            leaves = await self._store.entries(mark.position, min(size, mark.position + most))
            batch, spent = await self._batch(sink, mark, _up_to(leaves))
            if not self._ours():
                return
            try:
                await self._sender(sink).send(batch)
            except NotTaken as refused:
                if refused.large:
                    most = self._size[sink.name] = max(1, len(batch.leaves) // 2)
                await self._marked(sink, mark.failed(self._env.clock(), str(refused), refused.wait))
                return
            most = self._size[sink.name] = min(sink.batch, most * 2)
            mark = await self._marked(sink, mark.reached(mark.position + len(batch.leaves), self._env.clock()))
            await asyncio.sleep(spent * SHARE)

    async def _batch(self, sink: Sink, mark: Mark, leaves: list[bytes]) -> tuple[Batch, float]:
        """The records, and how much of the processor they took, in s."""
        records: list[bytes] = []
        spent = 0.0
        while len(records) < len(leaves):
            began = time.perf_counter()
            for leaf in leaves[len(records) : len(records) + SLICE]:
                records.append(line(sink.form, mark.position + len(records), leaf, self._log_name))
            spent += time.perf_counter() - began
            await asyncio.sleep(0)
        return Batch(self._log_name, mark.position, mark.holder, leaves, records), spent

    def _sender(self, sink: Sink) -> Sender:
        if sink not in self._senders:
            self._senders = {old: sender for old, sender in self._senders.items() if old.name != sink.name}
            self._senders[sink] = self._build(sink)
        return self._senders[sink]


def _up_to(leaves: Sequence[bytes]) -> list[bytes]:
    """The first of them, of `BYTES` together; at least one."""
    found: list[bytes] = []
    size = 0
    for leaf in leaves:
        size += len(leaf)
        if found and size > BYTES:
            break
        found.append(leaf)
    return found
