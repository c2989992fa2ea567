"""How far those have come who follow the log; see `ports.Marks`."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from remit.domain.errors import Conflict
from remit.domain.out import Mark

_ALL = "SELECT body FROM marks ORDER BY name"
_BEGUN = "INSERT INTO marks (version, body, name) VALUES ({}, {}, {}) ON CONFLICT DO NOTHING"
_MOVED = "UPDATE marks SET version = {}, body = {} WHERE name = {} AND version = {}"
_decode = msgspec.json.Decoder(Mark).decode


def _written(after: Mark) -> tuple[Mark, tuple[Any, ...]]:
    now = replace(after, version=after.version + 1)
    values = (now.version, msgspec.json.encode(now), now.name)
    return now, (*values, after.version) if after.version else values


class SqliteMarks:
    """For a store with one writer."""

    _select: Callable[[str, tuple[Any, ...]], sqlite3.Cursor]
    _durably: Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]

    async def marks(self) -> Mapping[str, Mark]:
        """See `ports.Marks`."""
        return {one.name: one for one in (_decode(row[0]) for row in self._select(_ALL, ()))}

    async def mark(self, after: Mark) -> Mark:
        """See `ports.Marks`."""
        now, values = _written(after)
        sql = (_MOVED if after.version else _BEGUN).format(*"????")
        if not await self._durably(lambda db: db.execute(sql, values).rowcount):
            raise Conflict("Somebody else has the mark.")
        return now


class PostgresMarks:
    """For any number of writers."""

    _pool: Any
    _ask: Any

    async def marks(self) -> Mapping[str, Mark]:
        """See `ports.Marks`."""
        return {one.name: one for one in (_decode(row[0]) for row in await self._ask(lambda: self._pool.fetch(_ALL)))}

    async def mark(self, after: Mark) -> Mark:
        """See `ports.Marks`."""
        now, values = _written(after)
        sql = (_MOVED if after.version else _BEGUN).format("$1", "$2", "$3", "$4")
        done = await self._ask(lambda: self._pool.execute(sql, *values))
        if done.endswith(" 0"):
            raise Conflict("Somebody else has the mark.")
        return now
