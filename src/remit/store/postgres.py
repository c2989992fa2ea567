"""PostgreSQL: any number of processes on one database. Changes of many callers share one durable transaction.

A committer takes what waits, locks the rows it names in one order, decides each change by itself, and writes all
that hold in a few statements of many rows. Rows that must not exist yet are raced by `ON CONFLICT DO NOTHING`; a
batch that loses such a race is taken back and its changes are tried one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import asyncpg as dialect

from remit.domain.change import Change, R
from remit.domain.errors import Conflict, Refusal, StoreUnavailable
from remit.formats.record import KIND_OF, KINDS, EncodedChange, Kind, encode
from remit.ports import wakes_of

from .edges import PostgresEdges
from .marks import PostgresMarks
from .migrate import migrate
from .observed import unobserved, watched
from .postgres_batch import LostRace, apply
from .postgres_log import LOST, PostgresLog, unavailable
from .row_cache import RowCache
from .shadows import PostgresShadows
from .tables import RowSql, find_sql, row_sql, tally_sql

_DIALECT = dialect.dialect()  # type: ignore[no-untyped-call]
_SQL: Mapping[str, RowSql] = {kind.table: row_sql(kind, _DIALECT) for kind in KINDS}
_BATCH = 256
# A process that is paused, or cut off, in the middle of a transaction keeps its locks no longer than that (ms).
_SESSION = {"application_name": "remit", "idle_in_transaction_session_timeout": "2000"}
_BEHIND = 120_000  # ms: by so much may the clock of a process be behind and still take nothing twice
_MIGRATION_LOCK = 0x52454D4954
_RETRIED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


@dataclass(frozen=True)
class _Waiter:
    encoded: EncodedChange
    future: asyncio.Future[int]


class PostgresStore(PostgresEdges, PostgresMarks, PostgresShadows, PostgresLog):
    """Open with `await PostgresStore.open(dsn)`; `close` flushes what waits."""

    def __init__(self, pool: Any, dsn: str) -> None:
        super().__init__(pool, dsn)
        self._cache = RowCache()
        self._finds: dict[tuple[str, tuple[str, ...]], str] = {}
        self.observed = unobserved
        self._queue: asyncio.Queue[_Waiter | None] = asyncio.Queue()
        self._committer = asyncio.create_task(self._run())

    @classmethod
    async def open(cls, dsn: str) -> PostgresStore:
        """Migrate when needed, under a lock, and connect."""
        try:
            await _migrate(dsn)
            pool = await asyncpg.create_pool(
                dsn, min_size=1, max_size=10, timeout=5, command_timeout=15, server_settings=_SESSION
            )
        except (*LOST, sa.exc.SQLAlchemyError) as failure:
            step = "Is it running, and is --database right?"
            raise StoreUnavailable("PostgreSQL cannot be opened.", next_step=step, inside=str(failure)) from failure
        return cls(pool, dsn)

    async def close(self) -> None:
        """Flush and disconnect."""
        self._queue.put_nowait(None)
        await self._committer
        await self._post.close()
        await self._pool.close()

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

    # --- writing ---

    async def commit(self, change: Change) -> int:
        """See `ports.Store`."""
        if self._committer.done():
            raise StoreUnavailable("The store is closed.")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with watched(self.observed):
            self._queue.put_nowait(_Waiter(encode(change), future))
            return await future

    async def spend(self, token: str, until: int) -> bool:
        """See `ports.Store`."""
        sql = "INSERT INTO spent (token, until) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        done: str = await self._ask(lambda: self._pool.execute(sql, token, until))
        return done == "INSERT 0 1"

    async def forget_spent(self, now: int) -> int:
        """Drop at most 1,000 single-use identifiers whose time is over, by the server's clock too; returns how many.

        A replica whose clock is ahead must not forget for the others what they would take again.
        """
        server = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
        over = f"SELECT token FROM spent WHERE until < least($1::bigint, {server} - {_BEHIND}) LIMIT 1000"  # noqa: S608
        sql = f"DELETE FROM spent WHERE token IN ({over})"  # noqa: S608
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
            results = [unavailable(failure)] * len(waiters)
        done = [waiter for waiter, result in zip(waiters, results, strict=True) if isinstance(result, int)]
        self.wake(*wakes_of(waiter.encoded.event for waiter in done))
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
