"""What is kept: rows, the events that explain them, and the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from remit.domain.change import Change, R


class Reader(Protocol):
    """The newest committed rows. Raises `StoreUnavailable` rather than answer from the past."""

    async def get(self, kind: type[R], key: str) -> R | None:
        """One row, or None."""
        ...

    async def find(self, kind: type[R], where: Mapping[str, str], *, after: str = "", limit: int = 100) -> Sequence[R]:
        """Rows whose indexed columns equal `where`, in key order, keys greater than `after`."""
        ...

    async def tally(self, kind: type[R], where: Mapping[str, str], by: str, *, limit: int = 1000) -> Mapping[str, int]:
        """How many of some `limit` rows that `find` would find have which value in the indexed column `by`."""
        ...

    async def due(self, kind: type[R], now: int, *, limit: int = 100) -> Sequence[R]:
        """Rows whose own clock has come (see `formats.record`), the longest due first."""
        ...


class Store(Reader, Protocol):
    """Rows and the events that explain them."""

    async def commit(self, change: Change) -> int:
        """Make it durable and return its event number; or raise `Conflict` or `StoreUnavailable`.

        After `StoreUnavailable` the change may or may not have happened ("failed but persisted").
        """
        ...

    async def spend(self, token: str, until: int) -> bool:
        """Durably mark a single-use identifier; True for exactly one caller until `until` (ms) has passed."""
        ...


@dataclass(frozen=True, slots=True)
class Appended:
    """A log extension: events in order, the tiles that change, and the signed head that covers them."""

    first: int
    events: tuple[int, ...]
    tiles: Mapping[tuple[int, int], bytes]
    size: int
    root: bytes
    note: str


class LogReader(Protocol):
    """The sequenced log."""

    async def head(self) -> tuple[int, str]:
        """Size and signed checkpoint; (0, "") before the first."""
        ...

    async def tile(self, level: int, index: int) -> bytes:
        """The widest stored tile: concatenated 32-byte hashes, possibly fewer than 256; b"" when absent."""
        ...

    async def entries(self, start: int, end: int) -> Sequence[bytes]:
        """Leaf bytes of indices start … end-1, shorter only at the end of the log."""
        ...

    async def unsequenced(self, limit: int) -> Sequence[tuple[int, bytes]]:
        """Committed events that have no place in the log yet: (event number, leaf bytes), in a stable order."""
        ...


class LogWriter(Protocol):
    """What the sequencer alone may do."""

    async def append(self, extension: Appended) -> None:
        """Extend the log by one checkpoint; raises `Conflict` if its size is no longer `extension.first`."""
        ...


class LogIndex(Protocol):
    """Where in the log a word stands (`formats.log_words`). It follows the log; nothing is decided by it."""

    async def indexed(self) -> int:
        """The first place whose event it does not have yet."""
        ...

    async def index(self, first: int, words: Sequence[Sequence[int]]) -> None:
        """Take in the words of the events at `first` and after; raises `Conflict` if it is not at `first` any more."""
        ...

    async def places(self, words: Sequence[int], before: int, limit: int) -> tuple[Sequence[int], int]:
        """Places below `before` that have all these words, the highest first, and where to go on (0: no more)."""
        ...

    async def count(self, word: int, start: int, end: int) -> int:
        """How many places from `start` up to `end` have this word."""
        ...
