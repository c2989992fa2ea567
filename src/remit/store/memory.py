"""A store in memory, for tests and simulations: the same semantics, nothing durable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from remit.domain.change import Change, R
from remit.domain.errors import Conflict
from remit.domain.estate import EdgeSeen
from remit.domain.out import Mark
from remit.domain.shadow import KEPT, MOST, Shadow
from remit.formats.record import KIND_OF, EncodedChange, EncodedPut, Kind, encode, pack
from remit.formats.row_body import decode
from remit.ports import Appended, Wake, wakes_of

from .bell import Bell


class MemoryStore(Bell):
    """Single-threaded: every method runs to its end without awaiting anything."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[tuple[str, str], EncodedPut] = {}
        self._events: list[tuple[bytes, bytes]] = []
        self._sequenced: list[int] = []
        self._spent: dict[str, int] = {}
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._head: tuple[int, str] = (0, "")
        self._words: list[frozenset[int]] = []
        self._seen: dict[str, EdgeSeen] = {}
        self._shadows: dict[str, Shadow] = {}
        self._marks: dict[str, Mark] = {}

    async def close(self) -> None:
        """Nothing to close."""

    async def marks(self) -> Mapping[str, Mark]:
        """See `ports.Marks`."""
        return dict(self._marks)

    async def mark(self, after: Mark) -> Mark:
        """See `ports.Marks`."""
        was = self._marks.get(after.name)
        if after.version != (was.version if was else 0):
            raise Conflict("Somebody else has the mark.")
        self._marks[after.name] = replace(after, version=after.version + 1)
        return self._marks[after.name]

    async def get(self, kind: type[R], key: str) -> R | None:
        """See `ports.Reader`."""
        found = self._rows.get((KIND_OF[kind].table, key))
        return decode(kind, found.body) if found else None

    async def find(self, kind: type[R], where: Mapping[str, str], *, after: str = "", limit: int = 100) -> Sequence[R]:
        """See `ports.Reader`."""
        rows = [put for put in self._where(KIND_OF[kind], where) if put.key > after]
        return [decode(kind, put.body) for put in sorted(rows, key=lambda put: put.key)[: min(limit, 1000)]]

    async def tally(self, kind: type[R], where: Mapping[str, str], by: str, *, limit: int = 1000) -> Mapping[str, int]:
        """See `ports.Reader`."""
        at = list(KIND_OF[kind].columns).index(by)
        return Counter(put.columns[at] for put in self._where(KIND_OF[kind], where)[:limit])

    def _where(self, known: Kind, where: Mapping[str, str]) -> list[EncodedPut]:
        names = list(known.columns)
        unknown = where.keys() - known.columns.keys()
        if unknown:
            raise ValueError(f"{known.table} cannot be found by {', '.join(sorted(unknown))}")
        return [
            put
            for put in self._of(known)
            if all(put.columns[names.index(name)] == value for name, value in where.items())
        ]

    async def due(self, kind: type[R], now: int, *, limit: int = 100) -> Sequence[R]:
        """See `ports.Reader`."""
        rows = [put for put in self._of(KIND_OF[kind]) if 0 < put.due <= now]
        rows.sort(key=lambda put: (put.due, put.key))
        return [decode(kind, put.body) for put in rows[: min(limit, 1000)]]

    async def commit(self, change: Change) -> int:
        """See `ports.Store`."""
        encoded = encode(change)
        self._expect(encoded)
        for put in encoded.puts:
            self._rows[(put.kind.table, put.key)] = put
        self._events.append((encoded.leaf, pack([put.told for put in encoded.puts])))
        self.wake(*wakes_of([encoded.event]))
        return len(self._events)

    async def spend(self, token: str, until: int) -> bool:
        """See `ports.Store`."""
        if token in self._spent:
            return False
        self._spent[token] = until
        return True

    async def forget_spent(self, now: int) -> int:
        """Drop single-use identifiers whose time is over; returns how many."""
        kept = {token: until for token, until in self._spent.items() if until >= now}
        dropped, self._spent = len(self._spent) - len(kept), kept
        return dropped

    async def head(self) -> tuple[int, str]:
        """See `ports.LogReader`."""
        return self._head

    async def tile(self, level: int, index: int) -> bytes:
        """See `ports.LogReader`."""
        return self._tiles.get((level, index), b"")

    async def entries(self, start: int, end: int) -> Sequence[bytes]:
        """See `ports.LogReader`."""
        return [self._events[number - 1][0] for number in self._sequenced[start:end]]

    async def unsequenced(self, limit: int) -> Sequence[tuple[int, bytes]]:
        """See `ports.LogWriter`."""
        start = len(self._sequenced)
        return [(start + i + 1, leaf) for i, (leaf, _) in enumerate(self._events[start : start + limit])]

    async def append(self, extension: Appended) -> None:
        """See `ports.LogWriter`."""
        if extension.first != self._head[0]:
            raise Conflict("The log has moved on.")
        self._sequenced += extension.events
        self._tiles.update(extension.tiles)
        self._head = (extension.size, extension.note)
        self.wake(Wake.SEQUENCED)

    async def indexed(self) -> int:
        """See `ports.LogIndex`."""
        return len(self._words)

    async def index(self, first: int, words: Sequence[Sequence[int]]) -> None:
        """See `ports.LogIndex`."""
        if first != len(self._words):
            raise Conflict("The index has moved on.")
        self._words += [frozenset(found) for found in words]

    async def places(self, words: Sequence[int], before: int, limit: int) -> tuple[Sequence[int], int]:
        """See `ports.LogIndex`."""
        end = min(before, len(self._words))
        found = [place for place in range(end - 1, -1, -1) if self._words[place].issuperset(words)][:limit]
        return found, found[-1] if len(found) == limit else 0

    async def count(self, word: int, start: int, end: int) -> int:
        """See `ports.LogIndex`."""
        return sum(word in found for found in self._words[start:end])

    async def saw(self, found: Sequence[EdgeSeen]) -> None:
        """See `ports.Edges`."""
        for one in found:
            if one.edge not in self._seen or self._seen[one.edge].seen_at <= one.seen_at:
                self._seen[one.edge] = one

    async def seen(self) -> Sequence[EdgeSeen]:
        """See `ports.Edges`."""
        return [self._seen[edge] for edge in sorted(self._seen)]

    async def shadowed(self, found: Sequence[Shadow]) -> int:
        """See `ports.Shadows`."""
        for one in found:
            was = self._shadows.get(one.id, replace(one, count=0))
            last = max(was.last_at, one.last_at)
            self._shadows[one.id] = replace(was, last_at=last, count=was.count + one.count)
        oldest = max((one.last_at for one in found), default=0) - KEPT
        self._shadows = {key: one for key, one in self._shadows.items() if one.last_at >= oldest}
        gone: list[Shadow] = []
        for kind, reporter in {(one.kind, one.reporter) for one in found}:
            kept = [one for one in self._shadows.values() if (one.kind, one.reporter) == (kind, reporter)]
            gone += sorted(kept, key=lambda one: (one.count == 1, -one.last_at, one.id))[MOST[kind] :]
        for one in gone:
            del self._shadows[one.id]
        return len(gone)

    async def shadows(self) -> Sequence[Shadow]:
        """See `ports.Shadows`."""
        return sorted(self._shadows.values(), key=lambda one: (-one.last_at, one.id))

    async def newest_event(self, through: int = 2**62) -> int:
        """See `ports.Edges`."""
        last = min(through, len(self._events))
        return last if last > len(self._sequenced) else 0

    async def history(self, after: int, limit: int) -> Sequence[tuple[int, bytes, bytes]]:
        """Events in commit order: (number, leaf, packed bodies)."""
        chosen = self._events[after : after + limit]
        return [(after + i + 1, leaf, bodies) for i, (leaf, bodies) in enumerate(chosen)]

    async def written(self, start: int, end: int) -> Sequence[tuple[bytes, bytes]]:
        """Leaf and packed bodies of places start … end-1, shorter only at the end of the log."""
        return [self._events[number - 1] for number in self._sequenced[start:end]]

    async def bodies(self, kind: Kind) -> Mapping[str, bytes]:
        """Every row body of one kind, by key."""
        return {put.key: put.body for put in self._of(kind)}

    def _of(self, kind: Kind) -> list[EncodedPut]:
        return [put for (table, _), put in self._rows.items() if table == kind.table]

    def _expect(self, encoded: EncodedChange) -> None:
        wanted = [(put.kind, put.key, put.expected) for put in encoded.puts]
        for kind, key, expected in (*wanted, *encoded.checks):
            found = self._rows.get((kind.table, key))
            if (found.version if found else 0) != expected:
                raise Conflict(f"{kind.table} {key} has changed.", next_step="Read it again and try again.")
