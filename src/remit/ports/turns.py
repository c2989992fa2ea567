"""Whose turn it is to do what one process at a time shall do."""

from __future__ import annotations

from typing import Protocol


class Turns(Protocol):
    """Turns of any number of processes on one store, by the store's own clock.

    A turn saves work; nothing is true because of it. A process that was paused can wake up after its turn was taken and
    finish what it had begun, so whatever is done in a turn is compare-and-swap in the store and idempotent outside.
    """

    async def take_turn(self, name: str, holder: str, ms: int) -> int:
        """Take or keep this turn for `ms` from now. Returns its number, one more for each new holder; 0: another's."""
        ...

    async def give_turn(self, name: str, holder: str) -> None:
        """Give the turn back, if `holder` has it, and wake who waits for it (`Wake.TURN`)."""
        ...
