"""PostgreSQL: any number of processes on one database. Changes of many callers share one durable transaction.

A committer takes what waits, locks the rows it names in one order, decides each change by itself, and writes all
that hold in a few statements of many rows. Rows that must not exist yet are raced by `ON CONFLICT DO NOTHING`; a
batch that loses such a race is taken back and its changes are tried one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import asyncpg as dialect

from remit.domain.change import Change, R
from remit.domain.errors import Conflict, Refusal, StoreUnavailable
from remit.domain.events import URGENT
from remit.formats.record import KIND_OF, KINDS, EncodedChange, Kind, encode
from remit.ports import Appended, Wake

from .bell import Bell
from .edges import PostgresEdges
from .migrate import migrate
from .postgres_batch import LostRace, apply
from .postgres_post import Post
from .row_cache import RowCache
from .tables import COUNTED, LOOKED_AT, PlacesSql, RowSql, find_sql, row_sql, tally_sql

_DIALECT = dialect.dialect()  # type: ignore[no-untyped-call]
_SQL: Mapping[str, RowSql] = {kind.table: row_sql(kind, _DIALECT) for kind in KINDS}
_PLACES = PlacesSql(_DIALECT)
_BATCH = 256
_MIGRATION_LOCK = 0x52454D4954
_RETRIED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
T = TypeVar("T")


@dataclass(frozen=True)
class _Waiter:
    encoded: EncodedChange
    future: asyncio.Future[int]


class PostgresStore(PostgresEdges, Bell):
    """Open with `await PostgresStore.open(dsn)`; `close` flushes what waits."""

    def __init__(self, pool: Any, dsn: str) -> None:
        super().__init__()
        self._pool = pool
        self._post = Post(dsn, lambda kinds: super(PostgresStore, self).wake(*kinds))
        self._cache = RowCache()
        self._finds: dict[tuple[str, tuple[str, ...]], str] = {}
        self._queue: asyncio.Queue[_Waiter | None] = asyncio.Queue()
        self._committer = asyncio.create_task(self._run())

    @classmethod
    async def open(cls, dsn: str) -> PostgresStore:
        """Migrate when needed, under a lock, and connect."""
        try:
            await _migrate(dsn)
            pool = await asyncpg.create_pool(dsn, min_size=1, max_size=10, timeout=5, command_timeout=15)
        except (*_LOST, sa.exc.SQLAlchemyError) as failure:
            step = "Is it running, and is --database right?"
            raise StoreUnavailable("PostgreSQL cannot be opened.", next_step=step, inside=str(failure)) from failure
        return cls(pool, dsn)

    async def close(self) -> None:
        """Flush and disconnect."""
        self._queue.put_nowait(None)
        await self._committer
        await self._post.close()
        await self._pool.close()

    def wake(self, *kinds: Wake) -> None:
        """See `ports.Wakes`."""
        super().wake(*kinds)
        self._post.send(kinds)

    # --- reading ---

    async def get(self, kind: type[R], key: str) -> R | None:
        """See `ports.Reader`."""
        table = KIND_OF[kind].table
        row = await self._ask(lambda: self._pool.fetchrow(_SQL[table].get, key))
        return self._cache.decoded(kind, table, key, row[1]) if row else None

    async def find(self, kind: type[R], where: Mapping[str, str], *, after: str = "", limit: int = 100) -> Sequence[R]:
        """See `ports.Reader`."""
        table, names = KIND_OF[kind].table, tuple(where)
        sql = self._finds.get((table, names))
        if sql is None:
            sql = self._finds[(table, names)] = find_sql(KIND_OF[kind], names, _DIALECT)
        rows = await self._ask(lambda: self._pool.fetch(sql, *where.values(), after, min(limit, 1000)))
        return [self._cache.decoded(kind, table, row[0], row[1]) for row in rows]

    async def tally(self, kind: type[R], where: Mapping[str, str], by: str, *, limit: int = 1000) -> Mapping[str, int]:
        """See `ports.Reader`."""
        sql = tally_sql(KIND_OF[kind], tuple(where), by, _DIALECT)
        rows = await self._ask(lambda: self._pool.fetch(sql, *where.values(), limit))
        return {row[0]: row[1] for row in rows}

    async def due(self, kind: type[R], now: int, *, limit: int = 100) -> Sequence[R]:
        """See `ports.Reader`."""
        table = KIND_OF[kind].table
        rows = await self._ask(lambda: self._pool.fetch(_SQL[table].due, now, min(limit, 1000)))
        return [self._cache.decoded(kind, table, row[0], row[1]) for row in rows]

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except _LOST as failure:
            raise _unavailable(failure) from failure

    # --- writing ---

    async def commit(self, change: Change) -> int:
        """See `ports.Store`."""
        if self._committer.done():
            raise StoreUnavailable("The store is closed.")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Waiter(encode(change), future))
        return await future

    async def spend(self, token: str, until: int) -> bool:
        """See `ports.Store`."""
        sql = "INSERT INTO spent (token, until) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        done: str = await self._ask(lambda: self._pool.execute(sql, token, until))
        return done == "INSERT 0 1"

    async def forget_spent(self, now: int) -> int:
        """Drop at most 1,000 single-use identifiers whose time is over; returns how many."""
        sql = "DELETE FROM spent WHERE token IN (SELECT token FROM spent WHERE until < $1 LIMIT 1000)"
        done: str = await self._ask(lambda: self._pool.execute(sql, now))
        return int(done.removeprefix("DELETE "))

    async def _run(self) -> None:
        stopping = False
        while not stopping:
            batch = [await self._queue.get()]
            while batch[-1] is not None and len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            stopping = batch[-1] is None
            waiters = [waiter for waiter in batch if waiter is not None]
            if waiters:
                await self._commit_batch(waiters)

    async def _commit_batch(self, waiters: Sequence[_Waiter]) -> None:
        try:
            results = await self._attempt([waiter.encoded for waiter in waiters])
        except LostRace:
            if len(waiters) == 1:
                results = [Conflict("A row appeared in between.", next_step="Read it again and try again.")]
            else:
                for waiter in waiters:
                    await self._commit_batch([waiter])
                return
        except Exception as failure:
            results = [_unavailable(failure)] * len(waiters)
        done = [waiter for waiter, result in zip(waiters, results, strict=True) if isinstance(result, int)]
        if any(waiter.encoded.event in URGENT for waiter in done):
            self.wake(Wake.URGENT)
        for waiter, result in zip(waiters, results, strict=True):
            if waiter.future.done():
                continue
            if isinstance(result, Refusal):
                waiter.future.set_exception(result)
            else:
                waiter.future.set_result(result)

    async def _attempt(self, changes: Sequence[EncodedChange]) -> list[Any]:
        for last in (False, False, True):
            try:
                async with self._pool.acquire(timeout=5) as connection, connection.transaction():
                    return await apply(connection, changes)
            except _RETRIED:
                if last:
                    raise
        raise AssertionError("unreachable")  # pragma: no cover

    # --- the log ---

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
        row = await self._ask(lambda: self._pool.fetchrow("SELECT size FROM log_indexed WHERE id = 1"))
        return int(row[0]) if row else 0

    async def index(self, first: int, words: Sequence[Sequence[int]]) -> None:
        """See `ports.LogIndex`."""
        await self._ask(lambda: self._index(first, words))

    async def _index(self, first: int, words: Sequence[Sequence[int]]) -> None:
        async with self._pool.acquire(timeout=5) as connection, connection.transaction():
            await connection.execute("INSERT INTO log_indexed (id, size) VALUES (1, 0) ON CONFLICT DO NOTHING")
            if await connection.fetchval("SELECT size FROM log_indexed WHERE id = 1 FOR UPDATE") != first:
                raise Conflict("The index has moved on.")
            rows = [(word, first + i) for i, found in enumerate(words) for word in found]
            await connection.execute(
                "INSERT INTO log_words (word, place) SELECT * FROM unnest($1::bigint[], $2::bigint[])"
                " ON CONFLICT DO NOTHING",
                [word for word, _ in rows],
                [place for _, place in rows],
            )
            await connection.execute("UPDATE log_indexed SET size = $1 WHERE id = 1", first + len(words))

    async def places(self, words: Sequence[int], before: int, limit: int) -> tuple[Sequence[int], int]:
        """See `ports.LogIndex`."""
        return await self._ask(lambda: self._places(words, before, limit))

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

    async def history(self, after: int, limit: int) -> Sequence[tuple[int, bytes, bytes]]:
        """Events in commit order: (number, leaf, packed bodies)."""
        sql = "SELECT number, leaf, bodies FROM events WHERE number > $1 ORDER BY number LIMIT $2"
        return [(row[0], row[1], row[2]) for row in await self._ask(lambda: self._pool.fetch(sql, after, limit))]

    async def bodies(self, kind: Kind) -> Mapping[str, bytes]:
        """Every row body of one kind, by key."""
        rows = await self._ask(lambda: self._pool.fetch(f"SELECT key, body FROM {kind.table}"))  # noqa: S608
        return {row[0]: row[1] for row in rows}


async def _migrate(dsn: str) -> None:
    """Alembic speaks to a synchronous connection; SQLAlchemy lends it one over asyncpg."""
    from sqlalchemy.ext.asyncio import create_async_engine

    url = sa.engine.make_url(dsn).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


def _unavailable(failure: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        "The store did not confirm, so nothing leaves.",
        next_step="Try again; what was not confirmed may or may not have happened.",
        inside=f"{type(failure).__name__}: {failure}",
    )
