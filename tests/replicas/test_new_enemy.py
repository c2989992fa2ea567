"""Revoke at one replica, ask at another: nothing is permitted after the revocation was acknowledged (law 6).

The controls weaken the replica that is asked: it may answer reads from a moment ago, and it may commit without looking
whether what it read has moved. Either of our two mechanisms hides one of the two; without both, the new enemy is let in.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import replace

import msgspec
import psycopg
import pytest

from remit.domain.caller import CallerKind
from remit.domain.change import Put
from remit.domain.decision import Access, Permit
from remit.domain.errors import Conflict, Refusal
from remit.domain.freeze import Reach
from remit.store.postgres import PostgresStore
from remit.testing.store import FaultyStore
from remit.verbs.apply import apply
from remit.verbs.attest import JwtSvidEvidence
from remit.verbs.decide import decide
from remit.verbs.freeze import freeze, unfreeze
from remit.verbs.review import open_review
from remit.verbs.revoke import end_task
from tests.verbs.test_review import keep, narrow
from tests.verbs.test_svid import HERE, at, key, prove, svid
from tests.world import world

FILES = {**HERE, "purposes/pay.toml": HERE["purposes/pay.toml"].replace("max_calls = 5", "max_calls = 100000")}
STOPPED = {**FILES, "policies/stop.cedar": '@id("stop") forbid (principal, action, resource);'}
REVOCATIONS = ("TaskEnded", "Froze", "CatalogueApplied", "IdentitySuperseded", "ReviewAnswered")
LIST = {"customer": "acme"}
AGO = 0.05
ALL = ("task", "agent", "everything", "catalogue", "identity", "review")


class Weakened(FaultyStore):
    """A replica's store; with neither fault it is the real one, a moment slower to commit so that races happen."""

    def __init__(self, inner, *, stale=False, unchecked=False):
        super().__init__(inner)
        self._stale, self._unchecked, self._seen = stale, unchecked, {}

    async def get(self, kind, key):
        now, at = asyncio.get_running_loop().time(), (kind, key)
        if not self._stale:
            return await self.inner.get(kind, key)
        if at not in self._seen or now - self._seen[at][0] > AGO:
            self._seen[at] = (now, await self.inner.get(kind, key))
        return self._seen[at][1]

    async def commit(self, change):
        await asyncio.sleep(0.002)
        while self._unchecked:
            puts = []
            for put in change.puts:
                there = await self.inner.get(type(put.row), put.row.key)
                version = there.version if there else 0
                puts.append(Put(replace(put.row, version=version + 1), version))
            with suppress(Conflict):
                return await self.inner.commit(replace(change, puts=tuple(puts), checks=()))
        return await self.inner.commit(change)


class Scene:
    """An agent with a task, known to replicas A (whose store the world has) and B."""

    def __init__(self, w, there):
        self.w, self.there, self.code = w, there, 0
        self.operator = w.call(CallerKind.OPERATOR, "op")

    async def begin(self):
        self.code += 1
        mine = key()
        await self.prove(mine)
        self.call = self.w.call(jkt=mine.thumbprint)
        self.task = await self.w.task(self.call)

    async def prove(self, mine):
        await prove(self.w, JwtSvidEvidence((await svid(self.w, at(f"{self.code:064d}"))).token), mine)

    async def ask(self):
        """One decision at B."""
        try:
            return isinstance(await decide(self.there, self.call, Access(self.task.id, "list", LIST)), Permit)
        except Refusal:
            return False

    async def revoke(self, what):
        """At A; acknowledged when it returns."""
        match what:
            case "task":
                await end_task(self.w.env, self.operator, self.task.id, "stop")
            case "agent":
                await freeze(self.w.env, self.operator, Reach.AGENT, "bot", "stop")
            case "everything":
                await freeze(self.w.env, self.operator, Reach.EVERYTHING, "", "stop")
            case "catalogue":
                await apply(self.w.env, self.operator, STOPPED)
            case "review":
                await narrow(self.w, ("pay", "tool", "list"))
            case "identity":
                self.code += 1
                await self.prove(key())

    async def restore(self, what):
        if what in ("agent", "everything"):
            await unfreeze(self.w.env, self.operator, Reach(what), "bot" if what == "agent" else "", "over")
        elif what == "catalogue":
            await apply(self.w.env, self.operator, FILES)
        elif what == "review":
            await open_review(self.w.env, self.operator, "bot")
            await keep(self.w)

    async def round(self, what):
        """How many permits there were before the revocation, and after."""
        await self.begin()
        over, permits = asyncio.Event(), [0]

        async def keep_asking():
            while not over.is_set():
                permitted = await self.ask()
                permits[0] += permitted

        asking = [asyncio.create_task(keep_asking()) for _ in range(3)]
        async with asyncio.timeout(20):
            while permits[0] < 4:
                await asyncio.sleep(0.002)
        mark = await self.newest()
        await self.revoke(what)
        at_once = await self.ask()
        over.set()
        await asyncio.gather(*asking)
        told = [(n, msgspec.json.decode(leaf)) for n, leaf, _ in await self.w.store.history(mark, 10_000)]
        revoked = max(n for n, event in told if event["type"] in REVOCATIONS)
        after = [
            e for n, e in told if n > revoked and e["type"] == "AccessDecided" and e["data"]["decision"] == "permit"
        ]
        await self.restore(what)
        return permits[0], len(after) + at_once

    async def newest(self):
        async with self.w.store._pool.acquire() as connection:
            return await connection.fetchval("SELECT max(number) FROM events")


async def hunt(dsn, what, rounds, **faults):
    here, there = await PostgresStore.open(dsn), await PostgresStore.open(dsn)
    try:
        w = await world(here, FILES)
        ids = iter(range(10**9))
        scene = Scene(
            w, replace(w.env, store=Weakened(there, **faults), new_id=lambda kind: f"{kind}_b{next(ids):031x}")
        )
        before = after = 0
        for _ in range(rounds):
            permitted, late = await scene.round(what)
            before, after = before + permitted, after + late
        return before, after
    finally:
        await here.close()
        await there.close()


@pytest.fixture(scope="module")
def migrated(postgres):
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")

    async def open_once():
        await (await PostgresStore.open(postgres.dsn(database=name))).close()

    asyncio.run(open_once())
    return name


@pytest.fixture
def dsn(postgres, migrated):
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {migrated}")
    return postgres.dsn(database=name)


@pytest.mark.parametrize("what", ALL)
def test_nothing_is_permitted_at_another_replica_after_it_was_taken_back(run, dsn, what):
    before, after = run(hunt(dsn, what, 5))
    assert before >= 20  # the race was run
    assert after == 0


@pytest.mark.parametrize("what", ["task", *(pytest.param(one, marks=pytest.mark.soak) for one in ALL[1:])])
def test_without_the_mechanism_the_same_test_finds_it(run, dsn, what):
    assert run(hunt(dsn, what, 4, stale=True, unchecked=True))[1] > 0


@pytest.mark.soak
@pytest.mark.parametrize("what", ALL)
def test_many_times(run, dsn, what):
    assert run(hunt(dsn, what, 200))[1] == 0


def test_stale_reads_alone_are_found_out_at_the_commit(run, dsn):
    assert run(hunt(dsn, "task", 3, stale=True))[1] == 0


def test_commits_that_do_not_look_let_in_what_was_read_before(run, dsn):
    assert run(hunt(dsn, "task", 8, unchecked=True))[1] > 0
