"""How old what an edge knows may be: by its own monotonic clock, and only by what it asked (see docs/estate.md)."""

from __future__ import annotations

from collections.abc import Callable

NEVER = 2**53
_ASKED = 64


class Freshness:
    """`clock` counts ms and never stands still nor goes back, not even while the machine sleeps (CLOCK_BOOTTIME).

    The centre's answer to a question asked at `t0` covers everything that was committed before `t0`. Once all of that
    is applied, what is known here is as old as `t0`, and no older. Nothing of this is kept: a process that starts
    knows nothing yet.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.now = clock
        self._asked: list[tuple[int, int]] = []  # (size, t0), both growing
        self._as_of: int | None = None
        self._applied = -1
        self._over = False

    def age(self) -> int:
        """In ms; `NEVER` before the first answer was applied."""
        return NEVER if self._as_of is None or self._over else self.now() - self._as_of

    def heard(self, t0: int, size: int) -> None:
        """The centre answered what was asked at `t0`: at least `size` events were committed before."""
        self._asked = [one for one in self._asked if one[0] < size or one[1] > t0]
        self._asked.append((size, t0))
        del self._asked[:-_ASKED]
        self.applied(self._applied)

    def applied(self, size: int) -> None:
        """All of the centre's log below `size` is durable here."""
        self._applied = max(self._applied, size)
        reached = [t0 for needs, t0 in self._asked if needs <= self._applied]
        if reached:
            self._as_of = max(reached) if self._as_of is None else max(self._as_of, *reached)
            self._asked = [one for one in self._asked if one[0] > self._applied]

    def give_up(self) -> None:
        """What is known here is not to be relied on any more, whatever comes."""
        self._over = True
