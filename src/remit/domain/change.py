"""The only way to write: rows under compare-and-swap, and the event that explains them (law 9).

    Change(because=TaskEnded(...), call=call).put(task.ended(...), was=task)

A change cannot be built without its event. `was` is the row as it was read; the store refuses
the whole change with `Conflict` if any row's version has moved since.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from .caller import Call
from .events import Event


class Row(Protocol):
    """What a store keeps: a frozen value with a key, and a version that counts its writes (0: not stored)."""

    @property
    def key(self) -> str: ...

    @property
    def version(self) -> int: ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Put:
    """Write `row`, provided the stored version is `expected` (0: provided there is none)."""

    row: Row
    expected: int


@dataclass(frozen=True, slots=True)
class Check:
    """Provided the stored version of this row is still `expected` (0: still absent)."""

    kind: type[Row]
    key: str
    expected: int


@dataclass(frozen=True, slots=True)
class Change:
    """One event and the rows it explains; immutable, built by chaining."""

    because: Event
    call: Call
    puts: tuple[Put, ...] = ()
    checks: tuple[Check, ...] = ()

    def put(self, row: R, *, was: R | None) -> Change:
        """Write `row` over `was`; `None` asserts that nothing is there yet."""
        expected = was.version if was is not None else 0
        versioned = replace(row, version=expected + 1)  # type: ignore[type-var]
        return replace(self, puts=(*self.puts, Put(versioned, expected)))

    def check(self, row: Row) -> Change:
        """Commit only if this row, which was read but is not written, has not moved; at version 0: if there is none."""
        return replace(self, checks=(*self.checks, Check(type(row), row.key, row.version)))
