"""A clock that nobody can set forward, for forgetting what must not come back.

A process whose wall clock runs ahead for a while, or when it starts, would forget proofs that it takes again once the
clock is right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SETTLES = 120.0


class Steady:
    """`clock` (ms), but never further on than so much time has passed (s, monotonic; the loop's) since it was first
    asked; and 0, before everything, in the first `SETTLES` seconds.
    """

    def __init__(self, clock: Callable[[], int], passed: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._passed = passed or (lambda: asyncio.get_running_loop().time())
        self._at = self._last = self._began = -1.0

    def now(self) -> int:
        """See above."""
        wall, passed = float(self._clock()), self._passed()
        if self._at < 0:
            self._at, self._began = wall, passed
        else:
            self._at = min(wall, self._at + (passed - self._last) * 1000)
        self._last = passed
        return int(self._at) if passed - self._began >= SETTLES else 0
