"""What arrived somewhere of a log: whether it is all there, however often it came and in whatever order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from remit.domain.errors import ProofInvalid

from .merkle import leaf_hash, root_of

SHOWN = 20


class Delivered:
    """32 bytes are kept for every place. `unreadable` are lines that are no records."""

    def __init__(self) -> None:
        self._hashes: dict[int, bytes] = {}
        self._logs: set[str] = set()
        self.repeated = self.unreadable = 0
        self._other: list[int] = []

    def add(self, log: str, place: int, leaf: bytes) -> None:
        """One record."""
        self._logs.add(log)
        found = leaf_hash(leaf)
        was = self._hashes.setdefault(place, found)
        if was != found:
            self._other.append(place)
        elif was is not found:
            self.repeated += 1

    def gaps(self, first: int | None = None) -> Iterator[tuple[int, int]]:
        """The places that are missing, from one to another; from `first` on, or from where it begins."""
        expected = first if first is not None else min(self._hashes, default=0)
        for place in sorted(self._hashes):
            if place > expected:
                yield expected, place - 1
            expected = max(expected, place + 1)

    def problem(self, first: int | None = None) -> str:
        """The first thing that is wrong, in words; empty when nothing is."""
        if len(self._logs) > 1:
            return f"records of {len(self._logs)} logs: {', '.join(sorted(self._logs))[:200]}"
        if self._other:
            return f"two different events at place {self._other[0]}: one is not the log's, or it was restored"
        for start, end in self.gaps(first):
            return f"places {start} to {end} are missing"
        if self.unreadable:
            return f"{self.unreadable} lines are no records of Remit"
        return "" if self._hashes else "there are no records"

    def told(self, first: int | None = None) -> dict[str, Any]:
        """For machines."""
        return {
            "log": min(self._logs, default=""),
            "first": min(self._hashes, default=-1),
            "last": max(self._hashes, default=-1),
            "records": len(self._hashes),
            "repeated": self.repeated,
            "unreadable": self.unreadable,
            "different": sorted(set(self._other))[:SHOWN],
            "gaps": [list(gap) for gap, _ in zip(self.gaps(first), range(SHOWN), strict=False)],
        }

    def check(self, origin: str, size: int, root: bytes) -> None:
        """Raise `ProofInvalid` unless the first `size` are all here, and exactly those that were signed."""
        if self._logs != {origin}:
            raise ProofInvalid(f"the checkpoint is of {origin}")
        missing = next((place for place in range(size) if place not in self._hashes), None)
        if missing is not None:
            raise ProofInvalid(f"{size} are signed, and place {missing} is not here")
        if root_of([self._hashes[place] for place in range(size)]) != root:
            raise ProofInvalid("the root is another")
