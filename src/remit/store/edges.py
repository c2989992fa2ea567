"""What edges said of themselves, and what has no place in the log yet; see `ports.estate.Edges`."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from remit.domain.estate import EdgeSeen

_NEWEST = "SELECT max(number) FROM events WHERE log_index IS NULL AND number <= {}"
_SEEN = "SELECT body FROM edges_seen ORDER BY edge"
_KEEP = (
    " ON CONFLICT (edge) DO UPDATE SET seen_at = excluded.seen_at, body = excluded.body"
    " WHERE edges_seen.seen_at <= excluded.seen_at"
)
_decode = msgspec.json.Decoder(EdgeSeen).decode


def _rows(found: Sequence[EdgeSeen]) -> list[tuple[str, int, bytes]]:
    newest = {one.edge: one for one in sorted(found, key=lambda one: one.seen_at)}
    return [(one.edge, one.seen_at, msgspec.json.encode(one)) for one in newest.values()]


class SqliteEdges:
    """For a store with one writer."""

    _select: Callable[[str, tuple[Any, ...]], sqlite3.Cursor]
    _durably: Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]

    async def saw(self, found: Sequence[EdgeSeen]) -> None:
        """See `ports.Edges`."""
        sql = "INSERT INTO edges_seen (edge, seen_at, body) VALUES (?, ?, ?)" + _KEEP  # noqa: S608
        await self._durably(lambda db: db.executemany(sql, _rows(found)))

    async def seen(self) -> Sequence[EdgeSeen]:
        """See `ports.Edges`."""
        return [_decode(row[0]) for row in self._select(_SEEN, ())]

    async def newest_event(self, through: int = 2**62) -> int:
        """See `ports.Edges`."""
        return int(self._select(_NEWEST.format("?"), (through,)).fetchone()[0] or 0)


class PostgresEdges:
    """For any number of writers."""

    _pool: Any
    _ask: Any

    async def saw(self, found: Sequence[EdgeSeen]) -> None:
        """See `ports.Edges`."""
        arrays = "$1::text[], $2::bigint[], $3::bytea[]"
        sql = f"INSERT INTO edges_seen (edge, seen_at, body) SELECT * FROM unnest({arrays})" + _KEEP  # noqa: S608
        columns = [list(column) for column in zip(*sorted(_rows(found)), strict=True)]
        if columns:
            await self._ask(lambda: self._pool.execute(sql, *columns))

    async def seen(self) -> Sequence[EdgeSeen]:
        """See `ports.Edges`."""
        return [_decode(row[0]) for row in await self._ask(lambda: self._pool.fetch(_SEEN))]

    async def newest_event(self, through: int = 2**62) -> int:
        """See `ports.Edges`."""
        return int(await self._ask(lambda: self._pool.fetchval(_NEWEST.format("$1"), through)) or 0)
