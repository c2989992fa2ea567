"""What changed, told as it happens by server-sent events; a page then asks again for itself.

A message names kinds of things and never what happened to them, and only things that this caller may see (law 11):
whoever has nothing that changed hears nothing. The log is read when a wake says that it has grown, so a change of
another replica is told as well; it is read while somebody listens, and not otherwise.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Protocol

import structlog
from starlette.responses import Response, StreamingResponse

from remit.domain.approval import Approval
from remit.domain.caller import Call, CallerKind
from remit.domain.errors import BadField, Busy, Refusal
from remit.domain.lease import Lease
from remit.domain.task import Task
from remit.ports import LogReader, Wake, Wakes, looked
from remit.web import api_agents, api_approvals, sessions
from remit.web.house import Asked, House
from remit.web.problems import HEADERS

LISTENERS = 200
EACH = 12
WAITING = 64
SILENCE = 15.0
BATCH = 1000
Written = tuple[str, str]
EVERYTHING: Written = ("*", "")
_EVERYBODYS = frozenset({"*", "CatalogueHead", "Frozen", "IssuerOutage"})
_log = structlog.get_logger("remit.web")


class Log(LogReader, Wakes, Protocol):
    """What is needed of a store."""


class Changes:
    """Reads the log once for everybody who listens, at most 200 of them; `close` lets them all go."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._listening: dict[asyncio.Queue[tuple[int, list[Written]] | None], str] = {}
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    async def listen(self, who: str) -> AsyncIterator[tuple[int, list[Written]]]:
        """(log size, what was written since) as it happens; an empty list when there was silence, or too much."""
        mine = sum(1 for other in self._listening.values() if other == who)
        if self._closed or len(self._listening) >= LISTENERS or mine >= EACH:
            raise Busy("Too many pages are open at once.", next_step="Close some; this one works without.")
        queue: asyncio.Queue[tuple[int, list[Written]] | None] = asyncio.Queue(WAITING)
        self._listening[queue] = who
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read((await self._log.head())[0]))
        return self._told(queue)

    async def _told(
        self, queue: asyncio.Queue[tuple[int, list[Written]] | None]
    ) -> AsyncIterator[tuple[int, list[Written]]]:
        at = 0
        try:
            while not self._closed:
                found: tuple[int, list[Written]] | None = (at, [])
                with suppress(TimeoutError):
                    async with asyncio.timeout(SILENCE):
                        found = await queue.get()
                if found is None:
                    return
                at = found[0]
                yield found
        finally:
            self._listening.pop(queue, None)

    async def _read(self, at: int) -> None:
        with self._log.woken(Wake.SEQUENCED) as woken:
            while self._listening and not self._closed:
                try:
                    size, _ = await self._log.head()
                    while at < size:
                        leaves = await self._log.entries(at, min(size, at + BATCH))
                        at += len(leaves)
                        self._tell(at, [(kind, key) for leaf in leaves for kind, key, *_ in json.loads(leaf)["writes"]])
                except Exception as failure:  # whoever reads the log next tries again; pages work without
                    _log.warning("the log cannot be followed", error=type(failure).__name__)
                    await asyncio.sleep(1)
                await looked(woken)

    def _tell(self, at: int, written: list[Written]) -> None:
        for queue in self._listening:
            if queue.full():  # it does not read: what it missed is one message, to look at everything again
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait((at, [EVERYTHING]))
            else:
                queue.put_nowait((at, written))

    def close(self) -> None:
        """The server stops: nobody is kept waiting."""
        self._closed = True
        for queue in self._listening:
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(None)


async def changes(house: House, call: Call, asked: Asked) -> Response:
    """Server-sent events: which kinds of things that the caller may see have changed."""
    if "text/event-stream" not in asked.headers.get("accept", ""):
        raise BadField("Accept", "must be text/event-stream")
    told = await house.changes.listen(str(call.caller))
    headers = {**HEADERS, "X-Accel-Buffering": "no"}
    return StreamingResponse(_lines(house, call, asked, told), headers=headers, media_type="text/event-stream")


async def _lines(
    house: House, call: Call, asked: Asked, told: AsyncIterator[tuple[int, list[Written]]]
) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    try:
        async for size, written in told:
            if asked.browser and await sessions.browser(house, asked, house.clock()) is None:
                return  # signed out meanwhile
            kinds = sorted({kind for kind, key in dict.fromkeys(written) if await _may_hear(house, call, kind, key)})
            yield f"id: {size}\ndata: {json.dumps(kinds)}\n\n".encode() if kinds else b": still here\n\n"
    finally:
        await told.aclose()  # type: ignore[attr-defined]


async def _may_hear(house: House, call: Call, kind: str, key: str) -> bool:
    if kind in _EVERYBODYS or call.caller.kind is not CallerKind.PERSON:
        return True
    store = house.env.store
    try:
        match kind:
            case "Task":
                task = await store.get(Task, key)
                return task is not None and await api_agents.may_see(house, call, task)
            case "Approval":
                row = await store.get(Approval, key)
                return row is not None and await api_approvals.may_see(house, call, row)
            case "Lease":
                lease = await store.get(Lease, key)
                task = await store.get(Task, lease.task) if lease else None
                return task is not None and await api_agents.may_see(house, call, task)
    except Refusal:  # the store is away; the page will say so when it asks
        return True
    return False
