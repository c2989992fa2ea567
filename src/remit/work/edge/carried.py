"""Frames that a bus carries. Whatever way one comes, it is applied if it is the centre's and it fits."""

from __future__ import annotations

import asyncio

from remit.domain.errors import BadToken, Unavailable
from remit.formats import estate
from remit.ports.estate import Bus

from .follow import Follow

DROPPED = 64  # messages of one connection that the centre did not sign: then the bus is left for a moment


class Carried:
    """`behind` is set when something before a frame is missing. `dropped` counts what was not the centre's."""

    def __init__(self, bus: Bus, follow: Follow, behind: asyncio.Event) -> None:
        self._bus, self._follow, self._behind = bus, follow, behind
        self._up = False
        self.dropped = 0

    def up(self) -> bool:
        """Whether frames come this way now."""
        return self._up

    async def once(self) -> bool:
        """Apply frames for as long as they come."""
        unsigned = 0
        async with self._bus.subscribed(self._follow.row.trust_domain) as messages:
            self._up = True
            self._behind.set()  # for what came between the two ways
            try:
                async for message in messages:
                    if await self._fits(message):
                        continue
                    unsigned += 1
                    if unsigned >= DROPPED:
                        step = "Who may publish there? Frames come from the centre itself meanwhile."
                        raise Unavailable("What the bus carries is not the centre's.", next_step=step)
            finally:
                self._up = False
        return False

    async def _fits(self, message: bytes) -> bool:
        """False when it is not the centre's. That it comes too early is nothing against it."""
        try:
            if not await self._follow.apply(estate.read(message)):
                self._behind.set()
        except BadToken:
            self.dropped += 1
            return False
        return True
