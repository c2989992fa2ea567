"""Frames: what edges need of the log, read once in every replica for all who follow it. See docs/estate.md.

What was told is kept in memory for as long as anybody may ask for it again; what is older is read from the log. State
in a frame (what is frozen, the catalogue's head, keys) is as it is when the frame is made: not older than its end.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import msgspec
import structlog

from remit.domain.catalogue import CatalogueHead
from remit.domain.errors import Busy, Unavailable
from remit.formats.estate import Body, Frame, Said, Statement, encode
from remit.ports import Edges, Env, LogReader, Wake, Wakes, looked

LISTENERS = 1500  # well below what the server takes at once: streams must not keep questions out
EACH = 8
WAITING = 64
EMPTY_EVERY = 1.0
PAGE = 1000
PAGES = 8  # of the log that one answer to `frames` goes through
LOOKED_BACK = 5_000  # events before the first that anybody asked for
KEPT = 50_000  # things told that are remembered
MOST = 2_000  # things that one answer to a beat carries
TOGETHER = 0.002  # seconds in which whoever asks how long the log is shares one look
AGAIN = 0.05
PATIENCE = 5.0
Listening: TypeAlias = "asyncio.Queue[Frame | None]"
_log = structlog.get_logger("remit.web")


class Log(LogReader, Edges, Wakes, Protocol):
    """What is needed of a store."""


class _Leaf(msgspec.Struct):
    type: str
    data: dict[str, Any]
    writes: list[tuple[str, str, int, str]]


_parse = msgspec.json.Decoder(_Leaf).decode
_STATE = {"Frozen": "frozen", "CatalogueHead": "catalogue", "SigningKey": "keys"}


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that the event at `index` tells edges; `name` is a member of a frame's body."""

    index: int
    name: str
    value: Any = None


def told(index: int, leaf: bytes) -> list[Told]:
    """What edges need of one event; mostly nothing."""
    found = _parse(leaf)
    data, things = found.data, list[Told]()
    match found.type:
        case "TaskEnded" if data.get("home"):
            things.append(Told(index, "ended", [data["task"], data["how"]]))
        case "FindingContained" if data.get("home"):
            things.append(Told(index, "ended", [data["task"], "revoked"]))
        case "TaskRecalled":
            things.append(Told(index, "recalled", [data["task"], data["edge"]]))
    for kind, key, version, _ in found.writes:
        if kind in _STATE:
            things.append(Told(index, _STATE[kind]))
        elif kind == "Identity" and version > 1:  # proved again, or superseded: what an edge has is old
            things.append(Told(index, "identities", key))
    return things


class Frames:
    """Follows the log while anybody listens; `close` lets them all go."""

    def __init__(self, env: Env, log: Log) -> None:
        self._env = env
        self._log = log
        self._from = self._size = -1
        self._told: list[Told] = []
        self._reading = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._look: asyncio.Task[int] | None = None
        self._listening: dict[Listening, str] = {}
        self._following: asyncio.Task[None] | None = None
        self._closed = False

    # --- how long the log is ---

    async def length(self) -> int:
        """A length of the log that covers every event committed before this was called. Many callers share a look."""
        if self._look is None:
            self._look = asyncio.create_task(self._covered())
        return await asyncio.shield(self._look)

    async def _covered(self) -> int:
        await asyncio.sleep(TOGETHER)
        async with self._looking:
            self._look = None  # whoever asks from here on needs a later look
            newest = await self._log.newest_event()
            try:
                async with asyncio.timeout(PATIENCE):
                    with self._log.woken(Wake.SEQUENCED) as sequenced:
                        while newest and await self._log.newest_event(newest):
                            self._log.wake(Wake.URGENT)
                            await looked(sequenced, AGAIN)
            except TimeoutError as slow:
                raise Unavailable("The log does not move.", inside=f"event {newest}") from slow
            return (await self._log.head())[0]

    # --- what happened in a stretch ---

    async def since(self, start: int) -> tuple[int, int, Body]:
        """(since, size, body) for an answer to a beat: from `start` on if that is remembered, else of no stretch."""
        size = await self.length()
        await self._read_to(size)
        things = self._between(start, size)
        if not self._from <= start <= size or len(things) > MOST:
            return size, size, {}
        return start, size, await self.body(things)

    async def relied_on(self) -> int:
        """A length of the log after which nothing was told so far: whoever has applied that much knows it all."""
        size, _ = await self._log.head()
        await self._read_to(size)
        return self._told[-1].index + 1 if self._told else self._from

    async def pages(self, since: int) -> list[Frame]:
        """Frames from `since` on, without gaps, as far as one answer goes; none at the end of the log."""
        size, _ = await self._log.head()
        await self._read_to(size)
        if self._from <= since < size:
            return [await self.signed(since, size, self._between(since, size))]
        found: list[Frame] = []
        while since < size and len(found) < PAGES:
            leaves = await self._log.entries(since, min(since + PAGE, size))
            end = since + len(leaves)
            things = [thing for i, leaf in enumerate(leaves, since) for thing in told(i, leaf)]
            found.append(await self.signed(since, end, things))
            since = end
        return found

    async def signed(self, since: int, size: int, things: Sequence[Told]) -> Frame:
        """One frame."""
        frame = Statement(Said.FRAME, since, size, self._env.clock(), await self.body(things))
        return Frame(since, size, encode(frame, self._env.issuer_url, self._env.token_key()))

    async def body(self, things: Sequence[Told]) -> Body:
        """What there is, by name; state as it is now."""
        found: Body = {}
        for thing in things:
            if thing.value is not None:
                found.setdefault(thing.name, []).append(thing.value)
        names = {thing.name for thing in things}
        if "frozen" in names:
            found["frozen"] = await self._env.frozen()
        if "catalogue" in names:
            found["catalogue"] = await self._env.store.get(CatalogueHead, "head")
        if "keys" in names:
            await self._env.signer.refresh()
            found["keys"] = list(self._env.signer.public("token"))
        return found

    def _between(self, start: int, end: int) -> Sequence[Told]:
        low, high = (bisect_left(self._told, at, key=lambda thing: thing.index) for at in (start, end))
        return self._told[low:high]

    async def _read_to(self, size: int) -> None:
        async with self._reading:
            if self._size < 0:
                self._from = self._size = max(0, size - LOOKED_BACK)
            while self._size < size:
                leaves = await self._log.entries(self._size, min(self._size + PAGE, size))
                if not leaves:
                    raise Unavailable("The log cannot be read.", inside=f"at {self._size} of {size}")
                self._told += [thing for i, leaf in enumerate(leaves, self._size) for thing in told(i, leaf)]
                self._size += len(leaves)
            if len(self._told) > KEPT:
                self._from = self._told[-KEPT // 2].index
                self._told = list(self._between(self._from, self._size))

    # --- who listens ---

    def listen(self, edge: str) -> Listening:
        """Everything that is pushed from now on, until `leave`, or None is in it; `Busy` when too many listen.

        Without a name it is this server itself, which hears all to the end.
        """
        many = len(self._listening) >= LISTENERS or list(self._listening.values()).count(edge) >= EACH
        if edge and (self._closed or many):
            raise Busy("Too many streams are open at once.", next_step="Ask for frames instead.")
        queue: Listening = asyncio.Queue(WAITING)
        self._listening[queue] = edge
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())
        return queue

    def leave(self, queue: Listening) -> None:
        """Nothing more is pushed; whoever reads it is let go after what there is, if there is not too much."""
        self._listening.pop(queue, None)
        while queue.full():
            queue.get_nowait()
        queue.put_nowait(None)

    async def _follow(self) -> None:
        sent = -1
        clock = asyncio.get_running_loop().time
        told_at = clock()
        with self._log.woken(Wake.SEQUENCED) as grown:
            while self._listening:
                try:
                    size, _ = await self._log.head()
                    await self._read_to(size)
                    sent = sent if sent >= 0 else size
                    things = self._between(sent, size)
                    if things or (size > sent and clock() - told_at >= EMPTY_EVERY):
                        self._push(await self.signed(sent, size, things))
                        sent, told_at = size, clock()
                    if any(thing.name == "catalogue" for thing in things):
                        await self._part()
                except Exception as failure:  # whoever listens asks, and is told by a beat
                    _log.warning("the log cannot be followed", error=type(failure).__name__)
                    await asyncio.sleep(1)
                await looked(grown)

    async def _part(self) -> None:
        """Who is no edge any more hears no more."""
        _, force = await self._env.in_force()
        for queue, edge in list(self._listening.items()):
            if edge and edge not in force.catalogue.edges:
                self.leave(queue)

    def _push(self, frame: Frame) -> None:
        for queue in list(self._listening):
            if queue.full():  # it does not read: it comes again, and asks for what it missed
                self.leave(queue)
            else:
                queue.put_nowait(frame)

    def close(self) -> None:
        """The server stops: no edge is kept waiting."""
        self._closed = True
        for queue, edge in list(self._listening.items()):
            if edge:
                self.leave(queue)
