"""PostgreSQL: the log, whose turn it is, and the wakes; `postgres` has the rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg
from sqlalchemy.dialects.postgresql import asyncpg as dialect

from remit.domain.errors import Conflict, StoreUnavailable
from remit.formats import log_words
from remit.ports import Appended, Wake

from .bell import Bell
from .postgres_post import Post
from .tables import COUNTED, LOOKED_AT, PlacesSql

_PLACES = PlacesSql(dialect.dialect())  # type: ignore[no-untyped-call]
LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_TAKE_TURN = f"""
INSERT INTO turns AS t (name, holder, number, until) VALUES ($1, $2, 1, {_NOW} + $3)
ON CONFLICT (name) DO UPDATE SET holder = $2, number = t.number + (t.holder <> $2)::int, until = {_NOW} + $3
WHERE t.holder = $2 OR t.until <= {_NOW} RETURNING number
"""  # noqa: S608
T = TypeVar("T")


class PostgresLog(Bell):
    """What every process on one database shares, beside the rows."""

    def __init__(self, pool: Any, dsn: str) -> None:
        super().__init__()
        self._pool = pool
        self._post = Post(dsn, lambda kinds: super(PostgresLog, self).wake(*kinds))

    def wake(self, *kinds: Wake) -> None:
        """See `ports.Wakes`."""
        if kinds:
            super().wake(*kinds)
            self._post.send(kinds)

    async def take_turn(self, name: str, holder: str, ms: int) -> int:
        """See `ports.Turns`."""
        return int(await self._ask(lambda: self._pool.fetchval(_TAKE_TURN, name, holder, ms)) or 0)

    async def give_turn(self, name: str, holder: str) -> None:
        """See `ports.Turns`."""
        sql = "UPDATE turns SET until = 0 WHERE name = $1 AND holder = $2"
        if await self._ask(lambda: self._pool.execute(sql, name, holder)) == "UPDATE 1":
            self.wake(Wake.TURN)

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except LOST as failure:
            raise unavailable(failure) from failure

    async def head(self) -> tuple[int, str]:
        """See `ports.LogReader`."""
        row = await self._ask(lambda: self._pool.fetchrow("SELECT size, note FROM log_head WHERE id = 1"))
        return (row[0], row[1]) if row else (0, "")

    async def tile(self, level: int, index: int) -> bytes:
        """See `ports.LogReader`."""
        sql = "SELECT hashes FROM tiles WHERE level = $1 AND position = $2"
        row = await self._ask(lambda: self._pool.fetchrow(sql, level, index))
        return bytes(row[0]) if row else b""

    async def entries(self, start: int, end: int) -> Sequence[bytes]:
        """See `ports.LogReader`."""
        sql = "SELECT leaf FROM events WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index"
        return [row[0] for row in await self._ask(lambda: self._pool.fetch(sql, start, end))]

    async def unsequenced(self, limit: int) -> Sequence[tuple[int, bytes]]:
        """See `ports.LogWriter`."""
        sql = "SELECT number, leaf FROM events WHERE log_index IS NULL ORDER BY number LIMIT $1"
        return [(row[0], row[1]) for row in await self._ask(lambda: self._pool.fetch(sql, limit))]

    async def append(self, extension: Appended) -> None:
        """See `ports.LogWriter`."""
        await self._ask(lambda: self._append(extension))
        self.wake(Wake.SEQUENCED)

    async def _append(self, extension: Appended) -> None:
        async with self._pool.acquire(timeout=5) as connection, connection.transaction():
            await connection.execute("INSERT INTO log_head (id, size, note) VALUES (1, 0, '') ON CONFLICT DO NOTHING")
            size = await connection.fetchval("SELECT size FROM log_head WHERE id = 1 FOR UPDATE")
            if size != extension.first:
                raise Conflict("The log has moved on.")
            places = list(range(extension.first, extension.first + len(extension.events)))
            done = await connection.execute(
                "UPDATE events SET log_index = p.place FROM unnest($1::bigint[], $2::bigint[]) AS p(number, place)"
                " WHERE events.number = p.number AND events.log_index IS NULL",
                list(extension.events),
                places,
            )
            if done != f"UPDATE {len(places)}":
                raise Conflict("Another sequencer was faster.")
            tiles = [(level, index, hashes) for (level, index), hashes in extension.tiles.items()]
            await connection.executemany(
                "INSERT INTO tiles (level, position, hashes) VALUES ($1, $2, $3)"
                " ON CONFLICT (level, position) DO UPDATE SET hashes = excluded.hashes",
                tiles,
            )
            sql = "UPDATE log_head SET size = $1, note = $2 WHERE id = 1"
            await connection.execute(sql, extension.size, extension.note)

    async def indexed(self) -> int:
        """See `ports.LogIndex`."""
        sql = "SELECT size FROM log_indexed WHERE id = $1"
        row = await self._ask(lambda: self._pool.fetchrow(sql, log_words.VERSION))
        return int(row[0]) if row else 0

    async def index(self, first: int, words: Sequence[Sequence[int]]) -> None:
        """See `ports.LogIndex`."""
        await self._ask(lambda: self._index(first, words))

    async def _index(self, first: int, words: Sequence[Sequence[int]]) -> None:
        async with self._pool.acquire(timeout=5) as connection, connection.transaction():
            of = log_words.VERSION
            await connection.execute("INSERT INTO log_indexed (id, size) VALUES ($1, 0) ON CONFLICT DO NOTHING", of)
            if await connection.fetchval("SELECT size FROM log_indexed WHERE id = $1 FOR UPDATE", of) != first:
                raise Conflict("The index has moved on.")
            rows = [(word, first + i) for i, found in enumerate(words) for word in found]
            await connection.execute(
                "INSERT INTO log_words (word, place) SELECT * FROM unnest($1::bigint[], $2::bigint[])"
                " ON CONFLICT DO NOTHING",
                [word for word, _ in rows],
                [place for _, place in rows],
            )
            size = first + len(words)
            await connection.execute("UPDATE log_indexed SET size = $1 WHERE id = $2", size, of)

    async def places(self, words: Sequence[int], before: int, limit: int) -> tuple[Sequence[int], int]:
        """See `ports.LogIndex`."""
        return await self._ask(lambda: self._places(words, before, limit))

    async def count(self, word: int, start: int, end: int) -> int:
        """See `ports.LogIndex`."""
        return int(await self._ask(lambda: self._pool.fetchval(_PLACES.within, word, start, end)))

    async def _places(self, words: Sequence[int], before: int, limit: int) -> tuple[Sequence[int], int]:
        async with self._pool.acquire(timeout=5) as connection:
            rare = [
                (await connection.fetchval(_PLACES.counted, word, before, COUNTED), word)
                for word in dict.fromkeys(words)
            ]
            rarest, *others = [word for _, word in sorted(rare)]
            sql = _PLACES.of(1 + len(others))
            found = [row[0] for row in await connection.fetch(sql, rarest, before, LOOKED_AT, *others, limit)]
            if len(found) == limit:
                return found, found[-1]
            return found, await connection.fetchval(_PLACES.looked, rarest, before, 1, LOOKED_AT - 1) or 0


def unavailable(failure: Exception) -> StoreUnavailable:
    """What the caller is told; the operator is told more."""
    return StoreUnavailable(
        "The store did not confirm, so nothing leaves.",
        next_step="Try again; what was not confirmed may or may not have happened.",
        inside=f"{type(failure).__name__}: {failure}",
    )
