"""Time by hand."""

from __future__ import annotations


class ManualClock:
    """Callable ms since the epoch that moves only when told."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, ms: int) -> int:
        """Move on, and return the new time."""
        self.now += ms
        return self.now
