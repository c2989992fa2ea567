"""What was seen and nobody registered; see `ports.Shadows`."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from remit.domain.shadow import MOST, Shadow, ShadowKind

_COLUMNS = "id, kind, name, source, first_at, last_at, count"
_ALL = f"SELECT {_COLUMNS} FROM shadows ORDER BY last_at DESC, id"  # noqa: S608
_MERGE = (
    " ON CONFLICT (id) DO UPDATE SET count = shadows.count + excluded.count,"
    " last_at = {}(shadows.last_at, excluded.last_at)"
)
_EVICT = (
    "DELETE FROM shadows WHERE kind = {0} AND id NOT IN (SELECT id FROM shadows WHERE kind = {0}"
    " ORDER BY CASE WHEN count > 1 THEN 0 ELSE 1 END, last_at DESC, id LIMIT {1})"
)


def _row(one: Shadow) -> tuple[Any, ...]:
    return (one.id, one.kind.value, one.name, one.source, one.first_at, one.last_at, one.count)


def _shadow(row: Sequence[Any]) -> Shadow:
    return Shadow(row[0], ShadowKind(row[1]), *row[2:])


def _kinds(found: Sequence[Shadow]) -> list[ShadowKind]:
    return [kind for kind in ShadowKind if any(one.kind is kind for one in found)]


class SqliteShadows:
    """For a store with one writer."""

    _select: Callable[[str, tuple[Any, ...]], sqlite3.Cursor]
    _durably: Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]

    async def shadowed(self, found: Sequence[Shadow]) -> int:
        """See `ports.Shadows`."""
        sql = f"INSERT INTO shadows ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)" + _MERGE.format("max")  # noqa: S608

        def write(db: sqlite3.Connection) -> int:
            db.executemany(sql, [_row(one) for one in found])
            gone = (db.execute(_EVICT.format("?1", "?2"), (k.value, MOST[k])).rowcount for k in _kinds(found))
            return sum(gone)

        return int(await self._durably(write))

    async def shadows(self) -> Sequence[Shadow]:
        """See `ports.Shadows`."""
        return [_shadow(row) for row in self._select(_ALL, ())]


class PostgresShadows:
    """For any number of writers."""

    _pool: Any
    _ask: Any

    async def shadowed(self, found: Sequence[Shadow]) -> int:
        """See `ports.Shadows`."""
        arrays = "$1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[]"
        sql = f"INSERT INTO shadows ({_COLUMNS}) SELECT * FROM unnest({arrays})" + _MERGE.format("greatest")  # noqa: S608
        columns = [list(column) for column in zip(*sorted(map(_row, found)), strict=True)]
        gone = 0
        if columns:
            await self._ask(lambda: self._pool.execute(sql, *columns))
        for kind in _kinds(found):
            said = await self._ask(lambda k=kind: self._pool.execute(_EVICT.format("$1", "$2"), k.value, MOST[k]))
            gone += int(str(said).rpartition(" ")[2])
        return gone

    async def shadows(self) -> Sequence[Shadow]:
        """See `ports.Shadows`."""
        return [_shadow(row) for row in await self._ask(lambda: self._pool.fetch(_ALL))]
