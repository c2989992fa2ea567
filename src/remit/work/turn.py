"""Of all processes on one store, one runs the reconcilers.

One turn for all of them: they share what they read and what they wake, and a second holder would only make the database
answer the same questions twice. It lasts `LASTS` and is kept four times as often. When its holder dies, another one has
it `LASTS + KEPT_EVERY` later at most; when it leaves, at once.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from contextlib import suppress
from typing import Protocol

import structlog

from remit.domain.errors import Refusal
from remit.ports import Turns, Wake, Wakes, looked

NAME = "reconcilers"
LASTS = 2.0  # seconds
KEPT_EVERY = 0.5
LEFT_FOR, LEFT_AGAIN = 1.0, 30.0
_log = structlog.get_logger("remit.work")


class Store(Turns, Wakes, Protocol):
    """What is needed of a store."""


class Turn:
    """`taken` is set while the turn is ours, as far as we know; `ours` asks the clock too: we may have been paused."""

    def __init__(self) -> None:
        self.taken = asyncio.Event()
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._until = 0.0
        self._not_before = -LEFT_AGAIN

    def ours(self) -> bool:
        """Whether a pass may begin."""
        if self.taken.is_set() and time.monotonic() >= self._until:
            self.taken.clear()
        return self.taken.is_set()

    async def keep(self, store: Store) -> None:
        """Take it whenever it is free, and keep it, until cancelled."""
        with store.woken(Wake.TURN) as given:
            while True:
                before, asked = self.ours(), time.monotonic()  # counted from before the store counts
                if asked < self._not_before:
                    await looked(given, KEPT_EVERY)
                    continue
                try:
                    async with asyncio.timeout(LASTS):
                        number = await store.take_turn(NAME, self._holder, int(LASTS * 1000))
                    self._until = asked + LASTS if number else 0.0
                except Exception as failure:  # whatever it is, the next try may do
                    _log.warning("the turn cannot be asked for", error=type(failure).__name__)
                    number = 0
                if number and not before:
                    self.taken.set()
                    if number > 1:  # not at the first start of all
                        _log.info("the reconcilers run here", number=number)
                self.ours()
                await looked(given, KEPT_EVERY)

    async def give_back(self, store: Store) -> None:
        """No pass begins here any more. Where the store does not answer, the turn ends by itself."""
        self.taken.clear()
        with suppress(Refusal):
            await store.give_turn(NAME, self._holder)

    async def leave_to_others(self, store: Store) -> None:
        """There is work of a newer version, which this one cannot do: whoever else is there may take the turn."""
        now = time.monotonic()
        if now >= self._not_before + LEFT_AGAIN:
            self._not_before = now + LEFT_FOR
            await self.give_back(store)
