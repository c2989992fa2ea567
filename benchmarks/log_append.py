"""Durable commits: one at a time and 64 waiting, beside what this disk can do."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from pathlib import Path

from measure import emit, timed

from remit.domain import events
from remit.domain.approval import Away
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.store.sqlite import SqliteStore
from remit.testing.postgres import NoPostgres, PostgresServer

CALL = Call(Caller(CallerKind.SYSTEM, "bench"), 1)


def change(key: str) -> Change:
    """An event and a row."""
    because = events.WentAway(key, "gina", 9, "r" * 100)
    return Change(because, CALL).put(Away(key, "gina", 1, 9, "r" * 100), was=None)


async def measure(store, subject: str) -> None:
    """Latency alone, throughput together."""
    samples = []
    for i in range(300):
        started = time.perf_counter()
        await store.commit(change(f"one{i}"))
        samples.append(time.perf_counter() - started)
    emit("log.append", subject, 1, samples, len(samples) / sum(samples), "one durable commit at a time")
    numbers = iter(range(64 * 100))
    together: list[float] = []

    async def waiter() -> None:
        for number in numbers:
            started = time.perf_counter()
            await store.commit(change(f"many{number}"))
            together.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(waiter() for _ in range(64)))
    emit(
        "log.append", subject, 64, together, len(together) / (time.perf_counter() - started), "64 waiters, group commit"
    )
    await store.close()


def raw(folder: Path) -> None:
    """The floor: an append with fsync, and SQLite's own durable insert."""
    with (folder / "raw").open("ab", buffering=0) as file:

        def append() -> None:
            file.write(b"x" * 400)
            os.fsync(file.fileno())

        samples = timed(append, 300)
    emit("log.append", "raw-fsync", 1, samples, len(samples) / sum(samples), "append 400 bytes and fsync")
    db = sqlite3.connect(folder / "raw.db", isolation_level=None)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (body BLOB)")
    samples = timed(lambda: db.execute("INSERT INTO t VALUES (?)", (b"x" * 400,)), 300)
    emit("log.append", "raw-sqlite", 1, samples, len(samples) / sum(samples), "one INSERT, WAL, synchronous=FULL")


async def on_postgres(dsn: str) -> None:
    """The same over a real server with fsync on."""
    from remit.store.postgres import PostgresStore

    await measure(await PostgresStore.open(dsn), "remit-postgres")


def main() -> None:
    """SQLite, PostgreSQL, raw."""
    with tempfile.TemporaryDirectory() as folder:
        raw(Path(folder))

        async def on_sqlite() -> None:
            await measure(SqliteStore.open(Path(folder) / "remit.db"), "remit-sqlite")

        asyncio.run(on_sqlite())
    try:
        with PostgresServer(durable=True) as server:
            asyncio.run(on_postgres(server.dsn()))
    except NoPostgres as missing:
        emit("log.append", "remit-postgres", 0, note=f"absent: {missing}")


main()
