"""SQLite, embedded: one durable transaction for everybody who waits (group commit).

WAL with `synchronous=FULL`: when `commit` returns, the change survives power loss. Statements run on the event
loop, in microseconds; only COMMIT, which waits for the disk, runs in a thread, and whoever arrives meanwhile makes
up the next transaction. (A thread that runs every statement costs more in handing the interpreter's lock back and
forth than the statements themselves.) Reads always see the newest committed state.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from remit.domain.change import Change, R
from remit.domain.errors import Conflict, Refusal, StoreUnavailable
from remit.formats import log_words
from remit.formats.record import KIND_OF, KINDS, EncodedChange, Kind, encode, pack
from remit.ports import Appended, Wake, wakes_of

from .bell import Bell
from .edges import SqliteEdges
from .marks import SqliteMarks
from .migrate import migrate
from .observed import unobserved, watched
from .row_cache import RowCache
from .shadows import SqliteShadows
from .tables import COUNTED, LOOKED_AT, PlacesSql, RowSql, find_sql, row_sql, tally_sql

_DIALECT = sqlite.dialect()
_SQL: Mapping[str, RowSql] = {kind.table: row_sql(kind, _DIALECT) for kind in KINDS}
_PLACES = PlacesSql(_DIALECT)
_BATCH = 512
Work: TypeAlias = Callable[[sqlite3.Connection], Any]


@dataclass(frozen=True)
class _Waiter:
    """Somebody waiting for `work` to be durable."""

    work: Work
    future: asyncio.Future[Any]


class SqliteStore(SqliteEdges, SqliteMarks, SqliteShadows, Bell):
    """Open with `SqliteStore.open(path)`; `close` flushes what waits."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._waiting: list[_Waiter] = []
        self._pump: asyncio.Task[None] | None = None
        self._closed = False
        self._writer: sqlite3.Connection | None = None
        self._disk = ThreadPoolExecutor(1, "remit-sqlite-commit")
        self._reader = _connect(path)
        self._cache = RowCache()
        self._finds: dict[tuple[str, tuple[str, ...]], str] = {}
        self.observed = unobserved

    @classmethod
    def open(cls, path: Path) -> SqliteStore:
        """Create (0600, in a 0700 directory) and migrate when needed."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            engine = sa.create_engine(f"sqlite:///{path}")
            with engine.begin() as connection:
                migrate(connection)
            engine.dispose()
            return cls(path)
        except (OSError, sqlite3.Error, sa.exc.SQLAlchemyError) as failure:
            raise StoreUnavailable(
                f"The database {path} cannot be opened.",
                next_step="Is the directory writable, and is there room?",
                inside=str(failure),
            ) from failure

    async def close(self) -> None:
        """Flush, then close the file."""
        self._closed = True
        if self._pump is not None:
            await self._pump
        self._disk.shutdown()
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()

    # --- reading ---

    async def get(self, kind: type[R], key: str) -> R | None:
        """See `ports.Reader`."""
        table = KIND_OF[kind].table
        row = self._select(_SQL[table].get, (key,)).fetchone()
        return self._cache.decoded(kind, table, key, row[1]) if row else None

    async def find(self, kind: type[R], where: Mapping[str, str], *, after: str = "", limit: int = 100) -> Sequence[R]:
        """See `ports.Reader`."""
        table, names = KIND_OF[kind].table, tuple(where)
        sql = self._finds.get((table, names))
        if sql is None:
            sql = self._finds[(table, names)] = find_sql(KIND_OF[kind], names, _DIALECT)
        rows = self._select(sql, (*where.values(), after, min(limit, 1000), 0))
        return [self._cache.decoded(kind, table, key, body) for key, body in rows]

    async def tally(self, kind: type[R], where: Mapping[str, str], by: str, *, limit: int = 1000) -> Mapping[str, int]:
        """See `ports.Reader`."""
        sql = tally_sql(KIND_OF[kind], tuple(where), by, _DIALECT)
        return dict(self._select(sql, (*where.values(), limit, 0)).fetchall())

    async def due(self, kind: type[R], now: int, *, limit: int = 100) -> Sequence[R]:
        """See `ports.Reader`."""
        table = KIND_OF[kind].table
        rows = self._select(_SQL[table].due, (now, min(limit, 1000), 0))
        return [self._cache.decoded(kind, table, key, body) for key, body in rows]

    def _select(self, sql: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
        try:
            return self._reader.execute(sql, parameters)
        except sqlite3.Error as failure:
            raise _unavailable(failure) from failure

    # --- writing ---

    async def commit(self, change: Change) -> int:
        """See `ports.Store`."""
        encoded = encode(change)
        with watched(self.observed):
            number: int = await self._durably(lambda db: _apply(db, encoded))
        for put, written in zip(encoded.puts, change.puts, strict=True):
            self._cache.remember(put.kind.table, put.key, put.body, written.row)
        self.wake(*wakes_of([encoded.event]))
        return number

    async def spend(self, token: str, until: int) -> bool:
        """See `ports.Store`."""
        sql = "INSERT INTO spent (token, until) VALUES (?, ?) ON CONFLICT DO NOTHING"
        return bool(await self._durably(lambda db: db.execute(sql, (token, until)).rowcount))

    async def forget_spent(self, now: int) -> int:
        """Drop at most 1,000 single-use identifiers whose time is over; returns how many."""
        sql = "DELETE FROM spent WHERE token IN (SELECT token FROM spent WHERE until < ? LIMIT 1000)"
        return int(await self._durably(lambda db: db.execute(sql, (now,)).rowcount))

    async def _durably(self, work: Work) -> Any:
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiter(work, future))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._flush())
        return await future

    async def _flush(self) -> None:
        """One transaction after another while anybody waits; a cancelled caller cancels nothing here."""
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            try:
                results = await self._transaction(batch)
            except (sqlite3.Error, OSError) as failure:
                # Nothing of this batch is acknowledged. Begin again with a fresh connection.
                results = [_unavailable(failure)] * len(batch)
                if self._writer is not None:
                    self._writer.close()
                    self._writer = None
            for waiter, result in zip(batch, results, strict=True):
                if waiter.future.done():  # its caller gave up; the change happened all the same
                    continue
                if isinstance(result, Refusal):
                    waiter.future.set_exception(result)
                else:
                    waiter.future.set_result(result)

    async def _transaction(self, batch: Sequence[_Waiter]) -> list[Any]:
        loop = asyncio.get_running_loop()
        writer = self._writer = self._writer or _connect(self._path)
        try:
            writer.execute("PRAGMA busy_timeout=0")
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:  # another process is writing: wait for it off the loop
            writer.execute("PRAGMA busy_timeout=5000")
            await loop.run_in_executor(self._disk, writer.execute, "BEGIN IMMEDIATE")
        try:
            results: list[Any] = []
            for waiter in batch:
                try:
                    results.append(waiter.work(writer))
                except Conflict as conflict:  # raised before anything of this change was written
                    results.append(conflict)
            await loop.run_in_executor(self._disk, writer.execute, "COMMIT")
            return results
        except BaseException:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise

    # --- the log ---

    async def head(self) -> tuple[int, str]:
        """See `ports.LogReader`."""
        row = self._select("SELECT size, note FROM log_head WHERE id = 1", ()).fetchone()
        return (row[0], row[1]) if row else (0, "")

    async def tile(self, level: int, index: int) -> bytes:
        """See `ports.LogReader`."""
        row = self._select("SELECT hashes FROM tiles WHERE level = ? AND position = ?", (level, index)).fetchone()
        return row[0] if row else b""

    async def entries(self, start: int, end: int) -> Sequence[bytes]:
        """See `ports.LogReader`."""
        sql = "SELECT leaf FROM events WHERE log_index >= ? AND log_index < ? ORDER BY log_index"
        return [row[0] for row in self._select(sql, (start, end))]

    async def unsequenced(self, limit: int) -> Sequence[tuple[int, bytes]]:
        """See `ports.LogWriter`."""
        sql = "SELECT number, leaf FROM events WHERE log_index IS NULL ORDER BY number LIMIT ?"
        return [(row[0], row[1]) for row in self._select(sql, (limit,))]

    async def append(self, extension: Appended) -> None:
        """See `ports.LogWriter`."""
        await self._durably(lambda db: _append(db, extension))
        self.wake(Wake.SEQUENCED)

    async def indexed(self) -> int:
        """See `ports.LogIndex`."""
        row = self._select("SELECT size FROM log_indexed WHERE id = ?", (log_words.VERSION,)).fetchone()
        return row[0] if row else 0

    async def index(self, first: int, words: Sequence[Sequence[int]]) -> None:
        """See `ports.LogIndex`."""
        await self._durably(lambda db: _index(db, first, words))

    async def places(self, words: Sequence[int], before: int, limit: int) -> tuple[Sequence[int], int]:
        """See `ports.LogIndex`."""
        rare = [
            (self._select(_PLACES.counted, (word, before, COUNTED, 0)).fetchone()[0], word)
            for word in dict.fromkeys(words)
        ]
        rarest, *others = [word for _, word in sorted(rare)]
        sql = _PLACES.of(1 + len(others))
        found = [row[0] for row in self._select(sql, (rarest, before, LOOKED_AT, 0, *others, limit, 0))]
        if len(found) == limit:
            return found, found[-1]
        lowest = self._select(_PLACES.looked, (rarest, before, 1, LOOKED_AT - 1)).fetchone()
        return found, lowest[0] if lowest else 0

    async def count(self, word: int, start: int, end: int) -> int:
        """See `ports.LogIndex`."""
        return int(self._select(_PLACES.within, (word, start, end)).fetchone()[0])

    async def history(self, after: int, limit: int) -> Sequence[tuple[int, bytes, bytes]]:
        """Events in commit order: (number, leaf, packed bodies)."""
        sql = "SELECT number, leaf, bodies FROM events WHERE number > ? ORDER BY number LIMIT ?"
        return [(row[0], row[1], row[2]) for row in self._select(sql, (after, limit))]

    async def written(self, start: int, end: int) -> Sequence[tuple[bytes, bytes]]:
        """Leaf and packed bodies of places start … end-1, shorter only at the end of the log."""
        sql = "SELECT leaf, bodies FROM events WHERE log_index >= ? AND log_index < ? ORDER BY log_index"
        return [(row[0], row[1]) for row in self._select(sql, (start, end))]

    async def bodies(self, kind: Kind) -> Mapping[str, bytes]:
        """Every row body of one kind, by key."""
        return dict(self._select(f"SELECT key, body FROM {kind.table}", ()).fetchall())  # noqa: S608


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=5.0, cached_statements=512
    )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA secure_delete=ON")  # an envelope that is destroyed is overwritten
    return connection


def _apply(db: sqlite3.Connection, encoded: EncodedChange) -> int:
    expected = [(put.kind, put.key, put.expected) for put in encoded.puts]
    for kind, key, version in (*expected, *encoded.checks):
        found = db.execute(_SQL[kind.table].version, (key,)).fetchone()
        if (found[0] if found else 0) != version:
            raise Conflict(f"{kind.table} {key} has changed.", next_step="Read it again and try again.")
    for put in encoded.puts:
        sql = _SQL[put.kind.table]
        if put.expected == 0:
            db.execute(sql.insert, (put.key, put.version, put.body, put.due, *put.columns))
        else:
            db.execute(sql.update, (put.version, put.body, put.due, *put.columns, put.key, put.expected))
    bodies = pack([put.told for put in encoded.puts])
    cursor = db.execute("INSERT INTO events (leaf, bodies) VALUES (?, ?)", (encoded.leaf, bodies))
    return int(cursor.lastrowid or 0)


def _append(db: sqlite3.Connection, extension: Appended) -> None:
    row = db.execute("SELECT size FROM log_head WHERE id = 1").fetchone()
    if (row[0] if row else 0) != extension.first:
        raise Conflict("The log has moved on.")
    places = [(extension.first + i, number) for i, number in enumerate(extension.events)]
    done = db.executemany("UPDATE events SET log_index = ? WHERE number = ? AND log_index IS NULL", places)
    if done.rowcount != len(places):
        raise sqlite3.IntegrityError("an event that has its place already was to get another")
    tiles = [(level, index, hashes) for (level, index), hashes in extension.tiles.items()]
    db.executemany("INSERT OR REPLACE INTO tiles (level, position, hashes) VALUES (?, ?, ?)", tiles)
    db.execute("INSERT OR REPLACE INTO log_head (id, size, note) VALUES (1, ?, ?)", (extension.size, extension.note))


def _index(db: sqlite3.Connection, first: int, words: Sequence[Sequence[int]]) -> None:
    row = db.execute("SELECT size FROM log_indexed WHERE id = ?", (log_words.VERSION,)).fetchone()
    if (row[0] if row else 0) != first:
        raise Conflict("The index has moved on.")
    rows = [(word, first + i) for i, found in enumerate(words) for word in found]
    db.executemany("INSERT OR IGNORE INTO log_words (word, place) VALUES (?, ?)", rows)
    row = (log_words.VERSION, first + len(words))
    db.execute("INSERT OR REPLACE INTO log_indexed (id, size) VALUES (?, ?)", row)


def _unavailable(failure: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        "The store did not confirm the write, so nothing leaves.",
        next_step="Is the disk full? It recovers by itself when there is room.",
        inside=f"{type(failure).__name__}: {failure}",
    )
