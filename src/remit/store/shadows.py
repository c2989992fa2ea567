"""What was seen and nobody registered; see `ports.Shadows`."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from remit.domain.shadow import KEPT, MOST, Shadow, ShadowKind

_COLUMNS = "id, kind, name, source, reporter, first_at, last_at, count"
_ALL = f"SELECT {_COLUMNS} FROM shadows ORDER BY last_at DESC, id"  # noqa: S608
_MERGE = (
    " ON CONFLICT (id) DO UPDATE SET count = shadows.count + excluded.count,"
    " last_at = {}(shadows.last_at, excluded.last_at)"
)
_EVICT = (
    "DELETE FROM shadows WHERE kind = {0} AND reporter = {1} AND id NOT IN (SELECT id FROM shadows"
    " WHERE kind = {0} AND reporter = {1} ORDER BY CASE WHEN count > 1 THEN 0 ELSE 1 END, last_at DESC, id LIMIT {2})"
)
_FORGET = "DELETE FROM shadows WHERE last_at < {}"


def _row(one: Shadow) -> tuple[Any, ...]:
    return (one.id, one.kind.value, one.name, one.source, one.reporter, one.first_at, one.last_at, one.count)


def _shadow(row: Sequence[Any]) -> Shadow:
    return Shadow(row[0], ShadowKind(row[1]), *row[2:])


def _limits(found: Sequence[Shadow]) -> list[tuple[str, str, int]]:
    """Kind, reporter, and how many of these are kept, of each that may now be over."""
    return sorted({(one.kind.value, one.reporter, MOST[one.kind]) for one in found})


def _oldest(found: Sequence[Shadow]) -> int:
    return max(one.last_at for one in found) - KEPT


class SqliteShadows:
    """For a store with one writer."""

    _select: Callable[[str, tuple[Any, ...]], sqlite3.Cursor]
    _durably: Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]

    async def shadowed(self, found: Sequence[Shadow]) -> int:
        """See `ports.Shadows`."""
        sql = f"INSERT INTO shadows ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)" + _MERGE.format("max")  # noqa: S608

        def write(db: sqlite3.Connection) -> int:
            db.executemany(sql, [_row(one) for one in found])
            db.execute(_FORGET.format("?"), (_oldest(found),))
            return sum(db.execute(_EVICT.format("?1", "?2", "?3"), limit).rowcount for limit in _limits(found))

        return int(await self._durably(write)) if found else 0

    async def shadows(self) -> Sequence[Shadow]:
        """See `ports.Shadows`."""
        return [_shadow(row) for row in self._select(_ALL, ())]


class PostgresShadows:
    """For any number of writers."""

    _pool: Any
    _ask: Any

    async def shadowed(self, found: Sequence[Shadow]) -> int:
        """See `ports.Shadows`."""
        if not found:
            return 0
        arrays = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(["text"] * 5 + ["bigint"] * 3, 1))
        sql = f"INSERT INTO shadows ({_COLUMNS}) SELECT * FROM unnest({arrays})" + _MERGE.format("greatest")  # noqa: S608
        columns = [list(column) for column in zip(*sorted(map(_row, found)), strict=True)]
        gone = 0
        await self._ask(lambda: self._pool.execute(sql, *columns))
        await self._ask(lambda: self._pool.execute(_FORGET.format("$1"), _oldest(found)))
        for limit in _limits(found):
            said = await self._ask(lambda k=limit: self._pool.execute(_EVICT.format("$1", "$2", "$3"), *k))
            gone += int(str(said).rpartition(" ")[2])
        return gone

    async def shadows(self) -> Sequence[Shadow]:
        """See `ports.Shadows`."""
        return [_shadow(row) for row in await self._ask(lambda: self._pool.fetch(_ALL))]
