"""A restore is a rollback: what was ended since the backup stays ended, and what was minted since is killed."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import threading
import time
from dataclasses import replace

import psycopg
import pytest

from remit.domain.caller import CallerKind
from remit.domain.errors import (
    Absent,
    BadToken,
    Denied,
    NotAttested,
    Replayed,
    StoreUnavailable,
    WrongState,
)
from remit.domain.freeze import Reach
from remit.domain.lease import Lease, LeaseState
from remit.domain.restore import IN_FLIGHT, Restored
from remit.domain.task import Task, TaskState
from remit.formats import jwk, rfc9068
from remit.store.backup import create, place, taken
from remit.store.postgres import PostgresStore
from remit.store.replay import replay
from remit.store.sqlite import SqliteStore
from remit.testing.issuer import FakeIssuer
from remit.testing.postgres import binaries
from remit.verbs.attest import JoinEvidence, attest, invite
from remit.verbs.freeze import freeze, unfreeze
from remit.verbs.issue import issue
from remit.verbs.restore import declare
from remit.verbs.revoke import end_task
from remit.work.check_store import check_store, head_of
from remit.work.end_leases import end_leases
from remit.work.make_safe import make_safe, restored_safely
from remit.work.sequence import sequence
from remit.work.sweep_orphans import sweep_orphans
from remit.work.watermark import Watermark
from tests.world import world

LOG = "remit.test/log"


class Sqlite:
    """A store in a file, its backup by `create`."""

    def __init__(self, request):
        self.folder = request.getfixturevalue("tmp_path")

    async def open(self):
        return SqliteStore.open(self.folder / "remit.db")

    def back_up(self):
        create(self.folder / "remit.db", self.folder / "backup")

    def put_back(self):
        place(taken(self.folder / "backup", self.folder / "copy"), self.folder / "remit.db", "old")


class Postgres:
    """A database, its backup by `pg_dump`; it comes back by `pg_restore`."""

    def __init__(self, request):
        self.server = request.getfixturevalue("postgres")
        self.file = request.getfixturevalue("tmp_path") / "backup"
        self.tools = binaries()
        self._fresh()

    def _fresh(self):
        with psycopg.connect(self.server.dsn(), autocommit=True) as db:
            db.execute("DROP DATABASE IF EXISTS restored WITH (FORCE)")
            db.execute("CREATE DATABASE restored")

    async def open(self):
        return await PostgresStore.open(self.server.dsn(database="restored"))

    def _tool(self, name, *arguments):
        tool = self.tools / name if (self.tools / name).exists() else shutil.which(name)
        subprocess.run([tool, *arguments], check=True, capture_output=True)

    def back_up(self):
        self._tool("pg_dump", "-Fc", "-f", self.file, self.server.dsn(database="restored"))

    def put_back(self):
        self._fresh()
        self._tool("pg_restore", "-d", self.server.dsn(database="restored"), self.file)


@pytest.fixture(params=[Sqlite, Postgres])
def kept(request):
    return request.param(request)


async def logged(w):
    while await sequence(w.store, w.env.signer, LOG):
        pass


def test_what_was_revoked_stays_dead_and_what_was_minted_since_dies(kept, run, tmp_path):
    async def main():
        w = await world(await kept.open())
        mark = Watermark(tmp_path / "log.checkpoint", LOG)
        _, agent = await w.proved()
        revoked = await w.task(agent)
        held, _ = await issue(w.env, w.call(jkt=agent.caller.jkt), revoked.id, "db")
        unused, _ = await invite(w.env, w.call(CallerKind.OPERATOR, "op"), "other", 10**9)
        token = w.env.signed(access_token(w, revoked, agent))
        await logged(w)
        await asyncio.to_thread(kept.back_up)

        # Since: the task is revoked and its credential dies, the join token is used, another credential is minted.
        await end_task(w.env, w.call(CallerKind.OPERATOR, "op"), revoked.id, "stolen")
        await end_leases(w.env, w.clock.now)
        assert held.handle not in w.issuer.live
        await attest(w.env, w.call(), JoinEvidence(unused), "thumb", {})
        late = await w.task(agent)
        orphan, _ = await issue(w.env, w.call(jkt=agent.caller.jkt), late.id, "db")
        await logged(w)
        await mark.write(w.store)
        newest = await head_of(w.store, LOG)
        await w.store.close()

        kept.put_back()
        old = w.issuer
        w = await world(await kept.open(), now=w.clock.now + 1000)
        old.clock = w.clock
        box = FakeIssuer()
        env = replace(w.env, issuer=lambda config: old if config.name == "pg" else box)
        env = w.env = replace(env, new_id=lambda kind: f"{kind}_{secrets.token_hex(16)}")
        # The rollback is real: without what follows the revoked task would act again.
        assert (await env.store.get(Task, revoked.id)).state is TaskState.OPEN
        assert await env.store.get(Task, late.id) is None and old.live == {orphan.handle}
        with pytest.raises(StoreUnavailable, match="older than what this host has seen"):
            await mark.check(env.store)

        operator = w.call(CallerKind.OPERATOR, "op")
        at, known = await head_of(env.store, LOG), await mark.seen(env.store)
        assert known == newest and at.size < known.size
        row = await declare(env.store, operator, at, known)
        assert row.lost == known.size - at.size > 0
        with pytest.raises(StoreUnavailable, match="was not finished"):
            await restored_safely(env.store)
        assert replace(await declare(env.store, operator, at, None), version=0) == row  # it goes on
        gone = await make_safe(env, operator)
        assert gone["tasks"] == 1 and gone["Identity"] == 1 and gone["JoinToken"] == 1
        await restored_safely(env.store)
        assert await make_safe(env, operator) == {}

        task = await env.store.get(Task, revoked.id)
        assert task.state is TaskState.REVOKED
        with pytest.raises((Denied, Absent)):
            await issue(env, w.call(jkt=agent.caller.jkt), revoked.id, "db")
        with pytest.raises(NotAttested):
            await attest(env, w.call(), JoinEvidence(unused), "thumb", {})
        with pytest.raises(BadToken):
            rfc9068.parse(token, issuer=env.issuer_url, audience=env.issuer_url, keys=keys(env), now=w.clock.now)
        with pytest.raises(WrongState, match="not finished"):
            await unfreeze(env, operator, Reach.EVERYTHING, "", "")

        # The orphan is found, explained by a lease, and killed; one that lands late is found by the last look.
        await sweep_orphans(env, w.clock.now)
        await end_leases(env, w.clock.now)
        assert not old.live and not await sweep_orphans(env, w.clock.now)
        old.live.add("remit_" + "f" * 32)
        w.clock.now += IN_FLIGHT + 1
        assert await sweep_orphans(env, w.clock.now)
        assert not await sweep_orphans(env, w.clock.now)
        await end_leases(env, w.clock.now)
        assert not old.live
        adopted = [one for one in await env.leases_in(LeaseState.ENDED) if one.credential == "orphan"]
        assert {one.handle for one in adopted} == {orphan.handle, "remit_" + "f" * 32}
        assert (await env.store.get(Restored, "restored")).orphans == 2
        assert (await env.store.get(Lease, held.id)).state is LeaseState.ENDED

        await unfreeze(env, w.call(CallerKind.OPERATOR, "op"), Reach.EVERYTHING, "", "")
        _, agent = await w.proved()
        assert (await w.task(agent)).state is TaskState.OPEN
        await logged(w)
        found = await check_store(env.store, env.sealer, LOG)
        assert found.problems == () and await replay(env.store) == []
        await mark.begin_again(env.store)
        await mark.check(env.store)
        await env.store.close()

    run(main())


def access_token(w, task, agent):
    now = w.clock.now
    return rfc9068.AccessToken(
        issuer=w.env.issuer_url, audience=w.env.issuer_url, subject="agent:bot", client="bot", task=task.id,
        jkt=agent.caller.jkt, jti="j", issued_at=now, expires_at=now + 10**7,
    )  # fmt: skip


def keys(env):
    return tuple(jwk.parse(key) for key in env.signer.public("token"))


def test_an_issuer_that_does_not_answer_keeps_everything_frozen(run):
    async def main():
        w = await world()
        operator = w.call(CallerKind.OPERATOR, "op")
        await freeze(w.env, operator, Reach.EVERYTHING, "", "before")
        await freeze(w.env, operator, Reach.AGENT, "bot", "before")
        await declare(w.store, operator, None, None)
        assert [one.reason for one in (await w.env.frozen()).freezes][1:] == ["before"]
        assert not await sweep_orphans(w.env, w.clock.now)  # not before it is safe
        with pytest.raises(WrongState, match="may still land"):
            (await w.store.get(Restored, "restored")).swept(w.clock.now)
        await make_safe(w.env, operator)
        w.clock.now += IN_FLIGHT + 1
        w.issuer.down = True
        with pytest.raises(Exception, match="did not answer"):
            await sweep_orphans(w.env, w.clock.now)
        with pytest.raises(WrongState, match="not finished"):
            await unfreeze(w.env, operator, Reach.EVERYTHING, "", "")
        w.issuer.down = False
        assert await sweep_orphans(w.env, w.clock.now)
        await unfreeze(w.env, operator, Reach.EVERYTHING, "", "")

    run(main())


def test_a_token_used_before_the_restore_does_not_prove_another_key(run):
    """The store has forgotten that it was used."""

    async def main():
        w = await world()
        operator = w.call(CallerKind.OPERATOR, "op")
        await declare(w.store, operator, None, None)
        await make_safe(w.env, operator)
        row = await w.store.get(Restored, "restored")
        from remit.verbs import attest as module

        proved = module._Proved(None, None, row.since - 5, 0, once=True)
        with pytest.raises(Replayed):
            await module._after_restore(w.env, proved)
        for fine in (replace(proved, once=False), replace(proved, proved_at=row.since + 1)):
            await module._after_restore(w.env, fine)

    run(main())


def test_who_is_cancelled_while_it_writes_stands_in_nobodys_way(run, tmp_path, monkeypatch):
    """A thread cannot be cancelled: it goes on writing while the server that stops writes the last one."""

    def slow(descriptor, sync=os.fsync):
        begun.set()
        time.sleep(0.2)
        sync(descriptor)

    async def main():
        w = await world()
        mark = Watermark(tmp_path / "log.checkpoint", LOG)
        await logged(w)
        writing = asyncio.create_task(mark.write(w.store))
        await asyncio.to_thread(begun.wait, 5)
        writing.cancel()
        await w.proved()
        await logged(w)
        await mark.write(w.store)
        seen, head = await mark.seen(w.store), await head_of(w.store, LOG)
        assert (seen.size, seen.root) == (head.size, head.root)
        assert [path.name for path in tmp_path.iterdir()] == ["log.checkpoint"]

    begun = threading.Event()
    monkeypatch.setattr(os, "fsync", slow)
    run(main())


def test_a_host_that_remembers_refuses_an_older_another_and_a_rewritten_log(run, tmp_path):
    async def main():
        w, other = await world(), await world()
        mark = Watermark(tmp_path / "log.checkpoint", LOG)
        await mark.check(w.store)  # nothing is remembered yet
        await logged(w)
        await mark.write(w.store)
        await mark.check(w.store)
        await w.proved()
        await logged(w)
        await mark.check(w.store)  # it has grown
        await mark.write(w.store)
        await logged(other)
        with pytest.raises(StoreUnavailable, match="another log"):
            await mark.check(other.store)
        # Under the same keys, with another past.
        from remit.store.memory import MemoryStore

        fork = MemoryStore()
        fork._rows, fork._events = dict(w.store._rows), list(reversed(w.store._events)) * 2
        while await sequence(fork, w.env.signer, LOG):
            pass
        with pytest.raises(StoreUnavailable, match="are not those"):
            await mark.check(fork)
        # One that is rolled back while we look is not taken for the newest.
        before = (tmp_path / "log.checkpoint").read_text()
        w.store._head = (1, "x")
        await mark.write(w.store)
        assert mark.rolled_back and (tmp_path / "log.checkpoint").read_text() == before

    run(main())


def test_a_check_finds_what_is_not_right(run):
    async def main():
        w = await world()
        await w.proved()
        await logged(w)
        note = (await w.store.head())[1]
        good = await check_store(w.store, w.env.sealer, LOG, [note])
        assert good.problems == () and good.opened >= 8
        from remit.issuers.keyring import RootSealer

        wrong = await check_store(w.store, RootSealer(b"x" * 32), LOG)
        assert len(wrong.problems) == good.opened and "does not open" in wrong.problems[0]
        w.store._head = (w.store._head[0], w.store._head[1].replace("\n", "\n", 1)[:-9] + "AAAAAAA=\n")
        assert "checkpoint" in (await check_store(w.store, w.env.sealer, LOG)).problems[0]

    run(main())


def test_backups_are_whole_or_not_there(tmp_path, run):
    async def main():
        store = SqliteStore.open(tmp_path / "remit.db")
        w = await world(store)
        with pytest.raises(WrongState, match="A server has"):
            await asyncio.to_thread(place, tmp_path / "x", tmp_path / "remit.db", "old")
        done = asyncio.Event()

        async def load():
            while not done.is_set():
                await w.proved()

        busy = asyncio.create_task(load())
        for number in range(3):
            await asyncio.to_thread(create, tmp_path / "remit.db", tmp_path / f"b{number}")
        done.set()
        await busy
        with pytest.raises(WrongState, match="there already"):
            create(tmp_path / "remit.db", tmp_path / "b0")
        for number in range(3):
            copy = SqliteStore.open(taken(tmp_path / f"b{number}", tmp_path / f"c{number}"))
            assert await replay(copy) == []
            await copy.close()
        (tmp_path / "b1").write_bytes((tmp_path / "b1").read_bytes()[:-5000])
        (tmp_path / "none").write_bytes(b"")
        for bad in ("b1", "none", "absent"):
            with pytest.raises(StoreUnavailable):
                taken(tmp_path / bad, tmp_path / "c")
        await store.close()
        assert (tmp_path / "b0").stat().st_mode & 0o777 == 0o600

    run(main())
