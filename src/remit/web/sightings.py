"""What edges last said of themselves, on its way to the store: one statement a second for all of them."""

from __future__ import annotations

import asyncio

import structlog

from remit.domain.errors import Refusal
from remit.domain.estate import EdgeSeen
from remit.ports import Edges

EVERY = 1.0
_log = structlog.get_logger("remit.web")


class Sightings:
    """Keeps the newest of each edge until it is written; a lost one is soon followed by another."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._new: dict[str, EdgeSeen] = {}
        self._writing: asyncio.Task[None] | None = None

    def saw(self, one: EdgeSeen) -> None:
        """It asked just now."""
        self._new[one.edge] = one
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._new:
            found, self._new = list(self._new.values()), {}
            try:
                await self._edges.saw(found)
            except Refusal as failure:
                _log.warning("what edges said is not kept", code=failure.code)
            await asyncio.sleep(EVERY)
