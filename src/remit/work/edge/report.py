"""Report: what was decided here goes to the centre in order, and tasks that were let go go home once it has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, Conflict, NotEntrusted, ReportRefused, Unavailable
from remit.domain.estate import Held
from remit.domain.origin import Observation
from remit.domain.task import Task, TaskState
from remit.formats import record, row_body
from remit.ports import Env
from remit.ports.estate import Centre, Reported

from ..sequence import Log as Sequenced
from ..sequence import sequence
from .follow import Follow, held
from .take import Memories

EVENTS = 256
BYTES = 768 * 1024


class Log(Sequenced, Protocol):
    """What reporting needs of a store."""

    async def written(self, start: int, end: int) -> Sequence[tuple[bytes, bytes]]:
        """Leaf and packed bodies of places start … end-1, shorter only at the end of the log."""
        ...


class Report:
    """One pass at a time. `received` is how far the centre has taken this log in, as it last said; -1: not yet asked.

    A task that was returned may be taken again only when the return itself has been reported: then a return that comes
    late finds more taken in than it says, and the centre leaves the task where it is.
    """

    def __init__(
        self, env: Env, centre: Centre, log: Log, log_name: str, follow: Follow, memories: Memories, most: int
    ) -> None:
        self._env = env
        self._centre = centre
        self._log = log
        self._name = log_name
        self._follow = follow
        self._memories = memories
        self._most = most
        self._passing = asyncio.Lock()
        self._returned: set[str] = set()
        self._settled = asyncio.Event()
        self._once = False
        self.received = -1
        self.size = 0
        self.began_at = 0
        self.flaw = ""
        self.refused = ""

    async def begin(self) -> None:
        """Give what was committed before its place; so long is this log at least."""
        await self._extend()
        self.began_at = self.size

    @property
    def backlog(self) -> int:
        """Events that the centre has not taken in, as far as is known."""
        return max(0, self.size - max(self.received, 0))

    @property
    def too_much(self) -> bool:
        """Over the bound."""
        return self.received >= 0 and self.backlog > self._most

    def heard(self, received: int) -> bool:
        """The centre says how far it is; False when that is further than this log: the store is an older one."""
        if received > self.began_at and self.received < 0:
            self.flaw = "This store is older than what the centre has taken in of it."
        elif not self.flaw:
            self.received = max(self.received, received)
        return not self.flaw

    def may_take(self, task: str) -> bool:
        """Whether nothing of an earlier stay can still come late."""
        return self._once and task not in self._returned

    async def extend(self) -> bool:
        """Give committed events their places; whether there were any."""
        async with self._passing:
            return await self._extend()

    async def _extend(self) -> bool:
        moved = False
        while await sequence(self._log, self._env.signer, self._name):
            moved = True
        self.size = (await self._log.head())[0]
        return moved

    async def one_pass(self) -> bool:
        """Report all there is, then return what was let go; whether anything moved. `Unavailable`: go on later."""
        async with self._passing:
            leaving = await held(self._env, "leaving")  # before the places: all that these did has one below
            returned = set(self._returned)
            await self._extend()
            moved = await self._report()
            self._returned -= returned
            self._once = True
            for row in leaving:
                await self._home(row)
            self._settle()
            return moved or bool(leaving)

    async def _report(self) -> bool:
        if self.received < 0 or self.flaw:
            raise Unavailable(self.flaw or "The centre has not said how far this log was taken in.")
        moved = False
        while self.received < self.size:
            batch = await self._batch(self.received)
            try:
                taken = await self._centre.report(self._follow.row.seat, batch)
            except ReportRefused as refused:
                self.refused = refused.message
                raise
            self.refused = ""
            if not self.received < taken <= self.received + len(batch):
                raise Unavailable("The centre does not take this log in.", inside=f"{self.received} → {taken}")
            self.received, moved = taken, True
        return moved

    async def _batch(self, start: int) -> list[Reported]:
        found: list[Reported] = []
        room = BYTES
        for index, (leaf, packed) in enumerate(await self._log.written(start, min(start + EVENTS, self.size)), start):
            bodies = await self._bodies(msgspec.json.decode(leaf), record.unpack(packed))
            room -= len(leaf) + sum(map(len, bodies))
            if found and room < 0:
                break
            found.append(Reported(index, leaf, bodies))
        return found

    async def _bodies(self, leaf: Mapping[str, Any], told: Sequence[bytes]) -> list[bytes]:
        """As the event kept them; what a task has read is in its row alone. Nothing else that is withheld leaves."""
        bodies: list[bytes] = []
        for (kind, key, _, digest), body in zip(leaf["writes"], told, strict=True):
            if kind == Observation.__name__ and leaf["type"] == events.ResultObserved.__name__:
                row = await self._env.store.get(Observation, key)
                read = row_body.encode(row) if row is not None else b""
                body = read if sha256(read).hexdigest() == digest else b""
            bodies.append(body)
        return bodies

    async def _home(self, row: Held) -> None:
        """Return one task: all that was decided for it here has been taken in."""
        env, through = self._env, self.received
        task = await env.store.get(Task, row.task)
        if task is None or task.state is TaskState.OPEN:
            with suppress(Absent, NotEntrusted):  # it is not this edge's to return
                await self._centre.give_back(row.task, self._follow.row.seat, through)
        because = events.TaskReturned(row.task, task.agent if task else "", env.place, through)
        call = Call(Caller(CallerKind.SYSTEM, "report"), env.clock())
        try:
            await env.store.commit(Change(because, call).put(row.goes(env.clock()), was=row))
        except Conflict:  # it was recalled again meanwhile, or has ended: the next pass sees to it
            return
        self._returned.add(row.task)
        self._memories.forget(row.task)

    def _settle(self) -> None:
        self._settled.set()
        self._settled = asyncio.Event()

    async def settled(self) -> None:
        """Return after the next pass that reported all there was."""
        await self._settled.wait()
