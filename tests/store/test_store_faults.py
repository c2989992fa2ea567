"""Crashes, full disks, tampering, migrations: what a store must survive and must notice."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from remit.domain.approval import Away
from remit.domain.errors import StoreUnavailable
from remit.ports import Wake
from remit.store.memory import MemoryStore
from remit.store.postgres import PostgresStore
from remit.store.replay import replay
from remit.store.sqlite import SqliteStore
from remit.store.tables import metadata
from remit.testing.store import FaultyStore
from tests.store.test_store_conformance import CALL, away, left

COMMITTER = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from tests.store.test_store_conformance import left
    from remit.store.sqlite import SqliteStore
    from remit.store.postgres import PostgresStore

    async def main(where):
        store = await PostgresStore.open(where) if where.startswith("postgresql") else SqliteStore.open(Path(where))
        async def one(i):
            await store.commit(left(f"a{i}"))
            print(i, flush=True)
        for start in range(0, 1_000_000, 16):
            await asyncio.gather(*(one(i) for i in range(start, start + 16)))

    asyncio.run(main(sys.argv[1]))
    """
)


def killed_while_committing(where):
    """Run the committer, kill -9 it in the middle, and return what it had acknowledged."""
    process = subprocess.Popen([sys.executable, "-c", COMMITTER, where], stdout=subprocess.PIPE, text=True)
    acknowledged = []
    for line in process.stdout:
        acknowledged.append(int(line))
        if len(acknowledged) == 200:
            process.send_signal(signal.SIGKILL)
            break
    acknowledged += [int(line) for line in process.stdout.read().split("\n")[:-1] if line]
    process.wait()
    return acknowledged


async def check_after(store, acknowledged):
    for i in acknowledged:
        assert await store.get(Away, f"a{i}") is not None, f"acknowledged {i} is lost"
    assert await replay(store) == []
    await store.commit(left("after"))
    await store.close()


def test_kill_9_while_committing_loses_nothing_acknowledged_on_sqlite(tmp_path):
    path = tmp_path / "remit.db"
    acknowledged = killed_while_committing(str(path))
    assert len(acknowledged) >= 200

    async def main():
        await check_after(SqliteStore.open(path), acknowledged)

    asyncio.run(main())


def test_kill_9_while_committing_loses_nothing_acknowledged_on_postgres(postgres):
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS crash")
        db.execute("CREATE DATABASE crash")
    acknowledged = killed_while_committing(postgres.dsn(database="crash"))

    async def main():
        await check_after(await PostgresStore.open(postgres.dsn(database="crash")), acknowledged)

    asyncio.run(main())


def test_two_processes_on_one_postgres_never_both_win(postgres):
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS two")
        db.execute("CREATE DATABASE two")

    async def main():
        one = await PostgresStore.open(postgres.dsn(database="two"))
        two = await PostgresStore.open(postgres.dsn(database="two"))
        for key in range(20):
            changes = [store.commit(left(f"k{key}")) for store in (one, two) for _ in range(4)]
            results = await asyncio.gather(*changes, return_exceptions=True)
            assert sum(isinstance(result, int) for result in results) == 1
        assert await replay(one) == []
        await one.close()
        await two.close()

    asyncio.run(main())


def test_a_full_disk_acknowledges_nothing_and_recovers_by_itself(tmp_path):
    """A file that may not grow: SQLite answers SQLITE_FULL exactly as it does when the disk is full."""
    path = tmp_path / "remit.db"

    async def main():
        store = SqliteStore.open(path)
        await store.commit(left("before"))
        limits = []

        def connect_limited(p):
            connection = original(p)
            connection.execute(f"PRAGMA max_page_count = {limits[0]}") if limits else None
            return connection

        import remit.store.sqlite as module

        original, module._connect = module._connect, connect_limited
        try:
            pages = sqlite3.connect(path).execute("PRAGMA page_count").fetchone()[0]
            limits.append(pages + 4)
            # The writer's own connection must be made again to come under the limit.
            await store._durably(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 4}"))
            lost, kept = [], []
            for i in range(200):
                try:
                    await store.commit(left(f"a{i}", away(f"a{i}", "x" * 400)))
                    kept.append(i)
                except StoreUnavailable:
                    lost.append(i)
            assert lost, "the disk never filled"
            assert not await readable(store, lost)
            limits.clear()
            await retry(store)
            assert len(await readable(store, kept)) == len(kept)
            assert await replay(store) == []
        finally:
            module._connect = original
        await store.close()

    async def readable(store, numbers):
        return [i for i in numbers if await store.get(Away, f"a{i}") is not None]

    async def retry(store):
        for attempt in range(3):
            try:
                return await store.commit(left(f"after{attempt}"))
            except StoreUnavailable:
                continue
        raise AssertionError("it did not recover")

    asyncio.run(main())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root; the test above runs without")
def test_a_really_full_file_system(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a tmpfs; the test above runs without")
    try:

        async def main():
            store = SqliteStore.open(small / "remit.db")
            ballast = small / "ballast"
            kept, failed = [], 0
            ballast.write_bytes(b"x" * (2 * 1024 * 1024 - sum(f.stat().st_size for f in small.iterdir()) - 65536))
            for i in range(200):
                try:
                    await store.commit(left(f"a{i}", away(f"a{i}", "x" * 400)))
                    kept.append(i)
                except StoreUnavailable:
                    failed += 1
            assert failed and kept
            ballast.unlink()
            await store.commit(left("after"))
            for i in kept:
                assert await store.get(Away, f"a{i}") is not None
            assert await replay(store) == []
            await store.close()

        asyncio.run(main())
    finally:
        subprocess.run(["umount", str(small)], check=False)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("UPDATE aways SET body = replace(body, 'gina', 'hugo') WHERE key = 'a'", "Away a was changed"),
        ("DELETE FROM aways WHERE key = 'a'", "Away a is missing"),
        ("DELETE FROM events WHERE number = 1", "Away a is explained by no event"),
        ("DELETE FROM events WHERE number = 2", "jumps to version 3"),
        (
            "UPDATE events SET bodies = replace(bodies, 'gina', 'hugo') WHERE number = 1",
            "not the one it signed for",
        ),
        ("INSERT INTO aways VALUES ('x', 1, '{}', 0, 'gina')", "Away x is explained by no event"),
    ],
)
def test_replaying_the_events_finds_what_was_tampered_with(tmp_path, spoil, words):
    path = tmp_path / "remit.db"

    async def write():
        store = SqliteStore.open(path)
        if words.startswith("jumps"):
            await store.commit(left("b"))
            for _ in range(3):
                await store.commit(left("b", was=await store.get(Away, "b")))
        else:
            await store.commit(left("a"))
        assert await replay(store) == []
        await store.close()

    async def check():
        store = SqliteStore.open(path)
        problems = await replay(store)
        await store.close()
        return problems

    asyncio.run(write())
    with sqlite3.connect(path) as db:
        db.execute(
            spoil.replace("replace(body,", "replace(CAST(body AS TEXT),").replace("bodies,", "CAST(bodies AS TEXT),")
        )
        # CAST gives text; put the bytes back as a blob.
        db.execute("UPDATE aways SET body = CAST(body AS BLOB)")
        db.execute("UPDATE events SET bodies = CAST(bodies AS BLOB)")
        db.commit()
    assert any(words in problem for problem in asyncio.run(check()))


def test_failed_but_persisted_is_told_apart_by_reading():
    async def main():
        store = FaultyStore(MemoryStore())
        store.faults = ["lost", "persisted"]
        for name in ("a", "b"):
            with pytest.raises(StoreUnavailable):
                await store.commit(left(name))
        assert await store.get(Away, "a") is None
        assert await store.get(Away, "b") is not None
        assert CALL.now == 1000

    asyncio.run(main())


def test_the_database_and_its_folder_are_private(tmp_path):
    store = SqliteStore.open(tmp_path / "data" / "remit.db")
    asyncio.run(store.close())
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "remit.db").stat().st_mode & 0o777 == 0o600


def test_a_replica_whose_clock_is_ahead_forgets_nothing_that_others_would_take_again(postgres):
    async def main():
        store = await PostgresStore.open(postgres.dsn())
        now = time.time_ns() // 1_000_000
        assert all([await store.spend(f"skew:{age}", now - age) for age in (-60_000, 60_000, 180_000)])
        await store.forget_spent(now + 600_000)
        assert not await store.spend("skew:-60000", now), "a proof that is good at every clock that is right"
        assert not await store.spend("skew:60000", now), "one that is good where the clock is a minute behind"
        assert await store.spend("skew:180000", now - 200_000), "one that is good nowhere"
        await store.close()

    asyncio.run(main())


def test_migrations_make_exactly_the_tables_of_the_code(tmp_path, postgres):
    asyncio.run(SqliteStore.open(tmp_path / "remit.db").close())
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS migrated")
        db.execute("CREATE DATABASE migrated")

    async def open_postgres():
        await (await PostgresStore.open(postgres.dsn(database="migrated"))).close()

    asyncio.run(open_postgres())
    urls = [f"sqlite:///{tmp_path}/remit.db", postgres.dsn(database="migrated").replace("://", "+psycopg://")]
    for url in urls:
        with sa.create_engine(url).connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_database_from_the_future_is_refused(tmp_path):
    path = tmp_path / "remit.db"
    asyncio.run(SqliteStore.open(path).close())
    with sqlite3.connect(path) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    asyncio.run(SqliteStore.open(path).close())  # newer, and says that this version may work on it
    with sqlite3.connect(path) as db:
        db.execute("UPDATE schema_floor SET revision = '9998'")
        db.commit()
    with pytest.raises(StoreUnavailable, match="does not know"):
        SqliteStore.open(path)


def test_what_cannot_be_opened_says_so(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        SqliteStore.open(tmp_path / "file" / "remit.db")
    (tmp_path / "junk.db").write_bytes(b"junk" * 1000)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        SqliteStore.open(tmp_path / "junk.db")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        asyncio.run(PostgresStore.open("postgresql://nobody:x@127.0.0.1:1/none"))


def test_wakes_are_heard_again_after_the_listening_connection_was_cut(postgres):
    async def main():
        first = await PostgresStore.open(postgres.dsn())
        second = await PostgresStore.open(postgres.dsn())
        with second.woken(Wake.NUDGED) as nudged:
            for _ in range(2):
                await asyncio.wait_for(nudged.wait(), 5)  # whoever begins to listen may have missed something
                nudged.clear()
                await asyncio.sleep(0.1)  # the other one listens too
                first.wake(Wake.NUDGED)
                await asyncio.wait_for(nudged.wait(), 5)
                nudged.clear()
                with psycopg.connect(postgres.dsn(), autocommit=True) as db:
                    cut = (
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'remit wakes'"
                    )
                    assert len(db.execute(cut).fetchall()) == 2
        await first.close()
        await second.close()

    asyncio.run(main())


def test_a_process_that_stops_in_the_middle_of_a_transaction_holds_nobody_up(postgres):
    async def main():
        paused, other = await PostgresStore.open(postgres.dsn()), await PostgresStore.open(postgres.dsn())
        await other.commit(left("held"))
        row = await other.get(Away, "held")
        connection = await paused._pool.acquire()
        await connection.execute("BEGIN")
        await connection.execute("SELECT 1 FROM aways WHERE key = 'held' FOR UPDATE")
        await asyncio.wait_for(other.commit(left("held", away("held", "moved"), was=row)), 4)
        assert (await other.get(Away, "held")).reason == "moved"
        assert await paused.get(Away, "held") is not None
        await paused.close()
        await other.close()

    asyncio.run(main())
