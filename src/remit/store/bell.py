"""Wakes and turns where there is one process; see `ports.Wakes` and `ports.Turns`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from remit.ports import Wake


class Bell:
    """What stores are that one process has to itself."""

    def __init__(self) -> None:
        self._listening: list[tuple[frozenset[Wake], asyncio.Event]] = []

    @contextmanager
    def woken(self, *by: Wake) -> Iterator[asyncio.Event]:
        """See `ports.Wakes`."""
        mine = (frozenset(by), asyncio.Event())
        self._listening.append(mine)
        try:
            yield mine[1]
        finally:
            self._listening.remove(mine)

    def wake(self, *kinds: Wake) -> None:
        """See `ports.Wakes`."""
        for by, event in self._listening:
            if not by.isdisjoint(kinds):
                event.set()

    async def take_turn(self, name: str, holder: str, ms: int) -> int:
        """See `ports.Turns`. There is one process, so it is always its turn."""
        return 1

    async def give_turn(self, name: str, holder: str) -> None:
        """See `ports.Turns`."""
