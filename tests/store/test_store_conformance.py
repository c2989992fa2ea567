"""One suite for every store: memory, SQLite, PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import replace
from functools import partial
from random import Random

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain import events
from remit.domain import review as reviews
from remit.domain.above import Branch
from remit.domain.accountability import DAY, Terms
from remit.domain.approval import Approval, Away
from remit.domain.backchannel import BackchannelRequest
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.connection import Connection
from remit.domain.consent import Consent
from remit.domain.errors import Conflict, StoreUnavailable
from remit.domain.estate import EdgeSeen
from remit.domain.freeze import Frozen
from remit.domain.identity import JoinToken
from remit.domain.keys import WHEN_NEEDED, SigningKey
from remit.domain.lease import Lease
from remit.domain.narrowing import Entitlement, Narrowing
from remit.domain.out import Mark
from remit.domain.review import Review, Verdict
from remit.domain.session import Session, SignInLink
from remit.domain.shadow import KEPT, MOST, Shadow, ShadowKind, Sighting
from remit.domain.task import Task
from remit.formats import log_words
from remit.formats.record import KIND_OF
from remit.govern.search import search
from remit.issuers.keyring import ALGORITHMS, Keyring, RootSealer
from remit.log import merkle
from remit.ports import Wake
from remit.store.memory import MemoryStore
from remit.store.postgres import PostgresStore
from remit.store.replay import replay
from remit.store.sqlite import SqliteStore
from remit.store.tables import LOOKED_AT
from remit.work.index_log import index_log
from remit.work.sequence import sequence
from tests.simulation.database import Database, SimulatedStore
from tests.simulation.loop import Node
from tests.simulation.network import Network, Weather

CALL = Call(Caller(CallerKind.SYSTEM, "test"), 1_000)


@pytest.fixture(params=["memory", "simulated", "sqlite", "postgres"])
def opened(request, tmp_path):
    """A function that opens the same (empty at first) store again and again."""
    if request.param == "memory":
        kept = MemoryStore()

        async def open_memory():
            return kept

        return open_memory
    if request.param == "simulated":
        return simulated()
    if request.param == "sqlite":

        async def open_sqlite():
            return SqliteStore.open(tmp_path / "data" / "remit.db")

        return open_sqlite
    server = request.getfixturevalue("postgres")
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    return partial(PostgresStore.open, server.dsn(database=name))


def simulated():
    """One database of `tests.simulation`, and a client of it each time; on asyncio's own loop, where nothing is late."""
    databases = []

    async def open_simulated():
        loop = asyncio.get_running_loop()
        if not databases:
            databases.append(Database(Node("db", loop)))
        databases[0].node = Node("db", loop)
        network = Network(loop, Random(0), Weather(0), lambda line: None)
        return SimulatedStore(databases[0], Node("client", loop), network)

    return open_simulated


def away(person, reason="r", to="gina"):
    return Away(person, to, 5, 9, reason)


def left(person, row=None, was=None):
    because = events.WentAway(person, "gina", 9, "r")
    return Change(because, CALL).put(row or away(person), was=was)


def lease(name, task="tsk_1", expires_at=100):
    return Lease(name, task, "bot", "db", "pg", f"remit_{name}", 0, 30, expires_at)


def with_store(test):
    """Run a coroutine test against a store that is closed afterwards."""

    def wrapped(opened):
        async def main():
            store = await opened()
            try:
                await test(store)
            finally:
                if not isinstance(store, MemoryStore):
                    await store.close()

        asyncio.run(main())

    wrapped.__name__ = test.__name__
    return wrapped


@with_store
async def test_what_was_put_is_read_back(store):
    assert await store.get(Away, "a") is None
    first = await store.commit(left("a"))
    row = await store.get(Away, "a")
    assert row == replace(away("a"), version=1)
    second = await store.commit(left("a", away("a", "other"), was=row))
    assert second > first
    assert (await store.get(Away, "a")).reason == "other"


@with_store
async def test_compare_and_swap_refuses_the_whole_change(store):
    await store.commit(left("a"))
    row = await store.get(Away, "a")
    await store.commit(left("a", away("a", "newer"), was=row))
    stale = left("b").put(away("a", "stale"), was=row)
    for change in (stale, left("a"), left("b").check(row), left("b").check(away("a"))):
        with pytest.raises(Conflict):
            await store.commit(change)
    assert await store.get(Away, "b") is None
    assert (await store.get(Away, "a")).reason == "newer"
    assert len(await store.history(0, 100)) == 2


@with_store
async def test_a_session_and_the_link_it_began_by_are_kept(store):
    link = SignInLink("d1", "dana", (CallerKind.OPERATOR, CallerKind.PERSON), 9)
    session = Session("d2", "dana", link.roles, "link", 1, 9, 1, ("finance",))
    because = events.SessionBegan("d2", "dana", ("operator", "person"), ("finance",), "link", 9)
    await store.commit(Change(because, CALL).put(session, was=None).put(link, was=None))
    assert await store.get(SignInLink, "d1") == replace(link, version=1)
    assert await store.find(Session, {"name": "dana", "state": "open"}) == [replace(session, version=1)]
    ended = replace(session, version=1).ended(2, "left")
    await store.commit(
        Change(events.SessionEnded("d2", "dana", "left"), CALL).put(ended, was=replace(session, version=1))
    )
    assert await store.find(Session, {"state": "open"}) == []


@with_store
async def test_what_a_person_agreed_to_is_kept(store):
    texts = (
        "d3",
        "https://c.example/c",
        "bot",
        "r",
        "doc",
        "https://c.example/b",
        "ch",
        "https://g.example/mcp",
        "dana",
    )
    consent = Consent(*texts, "work", "rev", "gateway", "goal", "tsk_1", 600_000, 60_000, {"customer": "acme"})
    because = events.ConsentGiven("d3", consent.client, "bot", "work", consent.resource, "tsk_1", "doc", 60_000)
    await store.commit(Change(because, CALL).put(consent, was=None))
    assert await store.get(Consent, "d3") == replace(consent, version=1)


@with_store
async def test_a_connection_is_due_when_it_ends_and_its_grant_is_in_no_event(store):
    made = Connection("crm").made("envelope-of-it", "https://as.example", "remit", ("notes.read",), 5, "operator:op")
    because = events.ConnectionMade("crm", "https://as.example", "remit", ("notes.read",))
    await store.commit(Change(because, CALL).put(made, was=None))
    row = await store.get(Connection, "crm")
    assert row == replace(made, version=1) and row.scopes == ("notes.read",)
    assert await store.due(Connection, 10**15) == []
    ending = row.taken("lse_1", 9).ending(7, "over")
    await store.commit(Change(events.ConnectionEnding("crm", "over"), CALL).put(ending, was=row))
    assert await store.due(Connection, 6) == [] and await store.due(Connection, 7) == [replace(ending, version=2)]
    assert await store.find(Connection, {"state": "ending"}) == [replace(ending, version=2)]
    assert "envelope-of-it" not in repr(await store.history(0, 100)) and await replay(store) == []


@with_store
async def test_a_review_is_due_while_it_waits_and_what_was_taken_away_is_kept(store):
    row = reviews.opened(None, "bot", "autumn", "operator:op", 100 * DAY, Terms())
    said = events.ReviewOpened("bot", 1, "autumn", row.due_at, row.narrow_at, row.freeze_at)
    await store.commit(Change(said, CALL).put(row, was=None))
    kept = replace(row, version=1)
    assert await store.due(Review, row.narrow_at - 1) == [] and await store.due(Review, row.narrow_at) == [kept]
    assert await store.find(Review, {"waits": "yes"}) == [kept]
    gone = (Entitlement("pay", "credential", "db"), Entitlement("pay", "tool", "mail"))
    taken = Narrowing("bot").and_without(gone, 5, "person:olga", "unused")
    answered = replace(kept.answered("olga", Verdict.NARROW, 5, "sha256:x", '{"may":[]}'), next_at=9)
    told = events.ReviewAnswered("bot", 1, "olga", "narrow", "sha256:x", tuple(map(str, gone)))
    change = Change(told, CALL).put(answered, was=kept).put(taken, was=None)
    await store.commit(change.put(Frozen().narrows("bot"), was=None))
    assert await store.get(Narrowing, "bot") == replace(taken, version=1)
    assert (await store.get(Frozen, "frozen")).narrowed == ("bot",)
    assert await store.find(Review, {"waits": "yes"}) == []
    assert await store.due(Review, 9) == [replace(answered, version=2)] and await replay(store) == []


@with_store
async def test_a_question_to_a_provider_is_due_until_it_waits_and_its_id_is_in_no_event(store):
    owed = BackchannelRequest("apv_1", "frank", "company", "oidc:company:1", "sha256:" + "0" * 64, 5)
    because = events.BackchannelOwed("apv_1", "frank", "company", "2222-2222")
    await store.commit(Change(because, CALL).put(owed, was=None))
    assert await store.due(BackchannelRequest, 4) == []
    (row,) = await store.due(BackchannelRequest, 5)
    waits = row.asking(6).waits("envelope-of-it", "r", 5_000, 99)
    await store.commit(Change(events.BackchannelAsked("apv_1", "frank", "r", 99), CALL).put(waits, was=row))
    assert await store.due(BackchannelRequest, 10**15) == []
    for where in ({"state": "waiting"}, {"approval": "apv_1"}):
        assert await store.find(BackchannelRequest, where) == [replace(waits, version=2)]
    assert "envelope-of-it" not in repr(await store.history(0, 100)) and await replay(store) == []


@with_store
async def test_checks_that_hold_let_the_change_through(store):
    await store.commit(left("a"))
    row = await store.get(Away, "a")
    await store.commit(left("b").check(row).check(away("c")))
    assert await store.get(Away, "b") is not None


@with_store
async def test_of_many_at_once_exactly_one_wins(store):
    await store.commit(left("a"))
    row = await store.get(Away, "a")
    changes = [left("a", away("a", str(i)), was=row) for i in range(30)] + [left("new") for _ in range(30)]
    results = await asyncio.gather(*(store.commit(change) for change in changes), return_exceptions=True)
    assert sum(isinstance(result, int) for result in results[:30]) == 1
    assert sum(isinstance(result, int) for result in results[30:]) == 1
    assert all(isinstance(result, int | Conflict) for result in results)


@with_store
async def test_each_of_a_batch_stands_for_itself(store):
    await store.commit(left("taken"))
    changes = [left("taken" if i % 3 == 0 else f"n{i}") for i in range(60)]
    results = await asyncio.gather(*(store.commit(change) for change in changes), return_exceptions=True)
    for i, result in enumerate(results):
        assert isinstance(result, Conflict if i % 3 == 0 else int)
    numbers = [result for result in results if isinstance(result, int)]
    assert len(set(numbers)) == len(numbers)
    assert await replay(store) == []


@with_store
async def test_a_chain_of_changes_in_one_batch(store):
    first, second = away("a", "1"), away("a", "2")
    stored = replace(first, version=1)
    results = await asyncio.gather(
        store.commit(left("a", first)), store.commit(left("a", second, was=stored)), return_exceptions=True
    )
    assert isinstance(results[0], int)
    assert isinstance(results[1], int | Conflict)
    assert await replay(store) == []


@with_store
async def test_rows_are_tallied_by_a_column_among_some(store):
    for n in range(7):
        name = f"bot{n % 2}"
        row = JoinToken(f"d{n}", name, 9)
        await store.commit(Change(events.JoinTokenCreated(name, row.digest, 9), CALL).put(row, was=None))
    assert dict(await store.tally(JoinToken, {}, "agent")) == {"bot0": 4, "bot1": 3}
    assert dict(await store.tally(JoinToken, {"agent": "bot1"}, "agent")) == {"bot1": 3}
    assert sum((await store.tally(JoinToken, {}, "agent", limit=3)).values()) == 3
    assert dict(await store.tally(JoinToken, {"agent": "nobody"}, "agent")) == {}
    for where, by in (({"digest": "d1"}, "agent"), ({}, "digest")):
        with pytest.raises(ValueError, match="digest"):
            await store.tally(JoinToken, where, by)


@with_store
async def test_find_pages_in_key_order(store):
    for i in range(7):
        to = "gina" if i % 2 else "hugo"
        await store.commit(left(f"a{i}", away(f"a{i}", to=to)))
    found = await store.find(Away, {"stand_in": "gina"}, limit=2)
    assert [row.person for row in found] == ["a1", "a3"]
    found = await store.find(Away, {"stand_in": "gina"}, after=found[-1].key, limit=2)
    assert [row.person for row in found] == ["a5"]
    assert len(await store.find(Away, {})) == 7
    with pytest.raises(ValueError, match="cannot be found by"):
        await store.find(Away, {"reason": "r"})


@with_store
async def test_due_gives_the_longest_due_first(store):
    for name, expires_at in (("c", 50), ("a", 70), ("b", 60), ("later", 500)):
        because = events.LeaseReserved(name, "tsk_1", "bot", "db", "pg", name, expires_at, ())
        live = lease(name, expires_at=expires_at).live(1)
        await store.commit(Change(because, CALL).put(live, was=None))
    assert [row.id for row in await store.due(Lease, 100)] == ["c", "b", "a"]
    assert [row.id for row in await store.due(Lease, 100, limit=1)] == ["c"]
    assert await store.due(Lease, 49) == []
    assert await store.due(Task, 10**15) == await store.due(Approval, 10**15) == []


@with_store
async def test_a_token_is_spent_exactly_once(store):
    results = await asyncio.gather(*(store.spend("jti", 500) for _ in range(50)))
    assert sum(results) == 1
    assert await store.forget_spent(499) == 0
    assert not await store.spend("jti", 500)
    assert await store.forget_spent(10_000) == 1
    assert await store.spend("jti", 20_000)


def test_what_was_acknowledged_is_there_after_reopening(opened):
    async def main():
        store = await opened()
        if isinstance(store, MemoryStore):
            return
        await store.commit(left("a"))
        assert await store.spend("jti", 500)
        await store.close()
        again = await opened()
        assert (await again.get(Away, "a")).person == "a"
        assert not await again.spend("jti", 500)
        assert await replay(again) == []
        await again.close()
        with pytest.raises(StoreUnavailable):
            await again.commit(left("b"))

    asyncio.run(main())


@with_store
async def test_the_log_is_sequenced_and_cannot_fork(store):
    keyring = await Keyring.open(store, RootSealer(b"k" * 32), 1)
    for i in range(300):
        await store.commit(left(f"a{i}"))
    waiting = await store.unsequenced(1000)
    assert [number for number, _ in waiting] == sorted(number for number, _ in waiting)
    total = 300 + len(ALGORITHMS) - len(WHEN_NEEDED)
    added = await asyncio.gather(*(sequence(store, keyring, "test/log") for _ in range(3)))
    assert sorted(added)[-1] == sum(added) == total
    assert await sequence(store, keyring, "test/log") == 0
    size, note = await store.head()
    entries = await store.entries(0, size)
    assert (size, len(entries)) == (total, total)
    assert entries == [leaf for _, leaf in waiting]
    assert note.split("\n")[1] == str(total)
    assert await store.tile(0, 0) == b"".join(merkle.leaf_hash(e) for e in entries[:256])
    assert await store.tile(9, 9) == b""
    rows = await store.find(SigningKey, {"use": "log"})
    assert len(rows) == 1


@with_store
async def test_events_are_found_by_all_their_words_the_newest_first(store):
    keyring = await Keyring.open(store, RootSealer(b"k" * 32), 1)
    for i in range(300):
        await store.commit(left(f"a{i % 7}", away(f"a{i}", "some reason"), was=None))
    while await sequence(store, keyring, "test/log"):
        pass
    size, _ = await store.head()
    assert await store.indexed() == 0
    steps = [await asyncio.gather(*(index_log(store) for _ in range(3)))]
    while any(steps[-1]):
        steps.append(await asyncio.gather(*(index_log(store) for _ in range(3))))
    assert sum(map(sum, steps)) == await store.indexed() == size
    with pytest.raises(Conflict):
        await store.index(3, [[1]])
    leaves = await store.entries(0, size)
    for wanted in (
        ["a3"],
        ["WentAway", "a3"],
        ["a3", "a4"],
        ["WentAway"],
        ["nobody"],
        ["gina", "a3", "system:test"],
    ):
        everywhere = [place for place in range(size - 1, -1, -1) if set(wanted) <= log_words.words(leaves[place])]
        assert bool(everywhere) == (wanted not in (["a3", "a4"], ["nobody"]))
        numbers = [log_words.number(word) for word in wanted]
        assert await store.places(numbers, size, 1000) == (everywhere, 0)
        found, before = [], size
        while before:
            some, before = await store.places(numbers, before, 7)
            found += some
        assert found == everywhere
        if "a3" in wanted:
            assert (await search(store, wanted, limit=1000)).entries == tuple((p, leaves[p]) for p in everywhere)


@with_store
async def test_a_search_looks_at_so_much_and_goes_on(store):
    common, rare, end = 1, 2, 2 * LOOKED_AT + 10
    await store.index(0, [[common, rare] if place in (5, 6) else [common, 3] for place in range(end)])
    assert await store.places([common, rare], end, 10) == ([6, 5], 0)
    if not isinstance(store, MemoryStore | SimulatedStore):
        found, at = await store.places([common, 3], end, 1)
        assert (found, at) == ([end - 1], end - 1)
        # Neither of the two is rare, and nothing has both: an answer comes all the same, and says where to go on.
        await store.index(end, [[10] if place % 2 else [11] for place in range(2 * LOOKED_AT + 10)])
        found, at = await store.places([10, 11], 2 * end, 10)
        assert found == [] and end < at < 2 * end
        found, at = await store.places([10, 11], at, 10)
        assert (found, at) == ([], 0)


@with_store
async def test_a_caller_that_gives_up_breaks_nothing(store):
    tasks = [asyncio.ensure_future(store.commit(left(f"a{i}"))) for i in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
    await store.commit(left("after"))
    assert await replay(store) == []


def test_nothing_below_is_committed_after_a_branch_has_ended(opened):
    """Two servers over one store: what checks the branch and what ends it cannot both believe that they were first."""

    async def main():
        one, two = await opened(), await opened()
        branch = Branch("tsk_1", version=1)
        await one.commit(Change(events.LeaseMinted("branch", "tsk_1"), CALL).put(Branch("tsk_1"), was=None))
        before: list[int] = []

        async def below(store, number):
            with contextlib.suppress(Conflict):
                change = Change(events.LeaseMinted(f"below{number}", "tsk_1"), CALL).check(branch)
                before.append(await store.commit(change))

        async def end():
            await asyncio.sleep(0.01)
            change = Change(events.LeaseMinted("end", "tsk_1"), CALL).put(branch.ended(5), was=branch)
            return await two.commit(change)

        async def many(store, start):
            for number in range(start, start + 60):
                await asyncio.gather(*(below(store, f"{number}/{i}") for i in range(4)))

        _, _, ended = await asyncio.gather(many(one, 0), many(two, 100), end())
        assert before and all(number < ended for number in before)
        with pytest.raises(Conflict):
            await one.commit(Change(events.LeaseMinted("late", "tsk_1"), CALL).check(branch))
        await one.close()
        await two.close()

    asyncio.run(main())


def test_every_kind_of_row_has_a_table():
    assert {kind.table for kind in KIND_OF.values()} >= {"tasks", "leases", "approvals"}


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.booleans()), max_size=25))
def test_sqlite_agrees_with_the_model(tmp_path_factory, steps):
    async def main():
        sqlite = SqliteStore.open(tmp_path_factory.mktemp("m") / "remit.db")
        memory = MemoryStore()
        for key, guess, together in steps:
            was = replace(away(key), version=guess) if guess else None
            change = left(key, away(key, str(guess)), was=was)
            if together:
                change = change.check(away("z"))
            outcomes = []
            for store in (sqlite, memory):
                try:
                    outcomes.append(await store.commit(change))
                except Conflict:
                    outcomes.append("conflict")
            assert outcomes[0] == outcomes[1]
            assert await sqlite.get(Away, key) == await memory.get(Away, key)
        assert await replay(sqlite) == await replay(memory) == []
        await sqlite.close()

    asyncio.run(main())


def test_a_wake_is_heard_by_every_process_on_the_store(opened):
    async def main():
        first, second = await opened(), await opened()
        together = first is second or isinstance(first, PostgresStore)  # a file has one process
        with (
            first.woken(Wake.URGENT, Wake.SEQUENCED) as here,
            second.woken(Wake.URGENT) as there,
            second.woken(Wake.NUDGED) as nudged,
        ):
            await asyncio.sleep(0.3)  # connected
            for event in (here, there, nudged):
                event.clear()
            await first.commit(left("a"))
            await asyncio.sleep(0.02)
            assert not here.is_set()  # nobody waits for that
            ended = Change(events.TaskEnded("tsk_1", "bot", "ended", "done"), CALL).put(away("b"), was=None)
            await first.commit(ended)
            assert here.is_set()
            if together:
                await asyncio.wait_for(there.wait(), 2)
            with second.woken(Wake.KEYS) as keys:
                replaced = events.SigningKeyReplaced("token", "k", "p", (), "leaked")
                await first.commit(Change(replaced, CALL).put(away("c"), was=None))
                if together:
                    await asyncio.wait_for(keys.wait(), 2)
            assert not nudged.is_set()
            second.wake(Wake.NUDGED)
            assert nudged.is_set()
            nudged.clear()
            first.wake(Wake.NUDGED)
            if together:
                await asyncio.wait_for(nudged.wait(), 2)
            here.clear()
            keyring = await Keyring.open(first, RootSealer(b"k" * 32), 1)
            await sequence(first, keyring, "test/log")
            assert here.is_set()
        first.wake(*Wake)
        assert first._listening == []
        for store in {first, second}:
            await store.close()

    asyncio.run(main())


def test_a_turn_is_one_holders_until_it_is_over_or_given_back(opened):
    async def main():
        first, second = await opened(), await opened()
        took = await asyncio.gather(
            *(store.take_turn("t", f"h{n}", 400) for n, store in enumerate([first, second] * 9))
        )
        if not isinstance(first, PostgresStore):  # one process has it to itself
            assert set(took) == {1}
        else:
            (winner,) = (n for n, number in enumerate(took) if number)
            mine, other = f"h{winner}", "other"
            assert await second.take_turn("t", other, 400) == 0
            assert await first.take_turn("t", mine, 400) == 1  # kept
            assert await first.take_turn("another", other, 400) == 1
            await asyncio.sleep(0.45)
            assert await second.take_turn("t", other, 10_000) == 2
            assert await first.take_turn("t", mine, 400) == 0
            with first.woken(Wake.TURN) as given:
                await second.give_turn("t", mine)  # not its own
                assert await first.take_turn("t", mine, 400) == 0
                given.clear()
                await second.give_turn("t", other)
                await asyncio.wait_for(given.wait(), 2)
            assert await first.take_turn("t", mine, 400) == 3
        for store in {first, second}:
            await store.close()

    asyncio.run(main())


@with_store
async def test_what_edges_said_is_kept_the_newest_of_each_and_an_event_waits_for_its_place(store):
    def seen(edge, at, size=1):
        return EdgeSeen(edge, "seat", size, "sha256:0", 1, 2, "test", at)

    await store.saw([])
    await store.saw([seen("b", 5), seen("a", 3), seen("a", 4, 9)])
    await store.saw([seen("b", 4, 7)])  # late: what is newer stays
    assert [(one.edge, one.seen_at, one.size) for one in await store.seen()] == [("a", 4, 9), ("b", 5, 1)]
    assert await store.newest_event() == 0
    first, second = await store.commit(left("one")), await store.commit(left("two"))
    assert (await store.newest_event(), await store.newest_event(first)) == (second, first)


@with_store
async def test_what_nobody_registered_is_counted_and_bounded(store):
    """What was seen again stays; of what one reporter said too much of a kind the least seen goes, and nothing else."""

    def shadow(kind, name, at, count=1, reporter=""):
        return Shadow(Sighting(kind, name, "x").id, kind, name, "x", reporter, at, at, count)

    most = MOST[ShadowKind.CLIENT]
    assert await store.shadowed([]) == 0
    assert await store.shadowed([shadow(ShadowKind.SUBJECT, "proved", 1), shadow(ShadowKind.CLIENT, "known", 2)]) == 0
    assert await store.shadowed([shadow(ShadowKind.CLIENT, "known", 5, 2)]) == 0
    assert await store.shadowed([shadow(ShadowKind.CLIENT, "known", 4)]) == 0  # late
    (known, proved) = await store.shadows()
    assert (known.name, known.first_at, known.last_at, known.count) == ("known", 2, 5, 4) and proved.name == "proved"
    flood = [shadow(ShadowKind.CLIENT, f"made-up-{n}", 100 + n) for n in range(most + 50)]
    assert await store.shadowed(flood) == 51
    kept = await store.shadows()
    assert len(kept) == most + 1 and {"known", "proved", f"made-up-{most + 49}"} <= {one.name for one in kept}
    assert [one.last_at for one in kept] == sorted((one.last_at for one in kept), reverse=True)

    tools = MOST[ShadowKind.TOOL]
    await store.shadowed([shadow(ShadowKind.TOOL, "honest", 300, reporter="enforcer:a")])
    bad = [shadow(ShadowKind.TOOL, f"bad-{n}", 400 + n, 2, "enforcer:b") for n in range(tools)]
    assert await store.shadowed([*bad, shadow(ShadowKind.TOOL, "honest", 900, 9, "enforcer:b")]) == 0
    assert await store.shadowed([shadow(ShadowKind.TOOL, "one more", 2000, 2, "enforcer:b")]) == 1
    found = {one.name: one for one in await store.shadows() if one.kind is ShadowKind.TOOL}
    assert len(found) == tools + 1 and "bad-0" not in found
    assert (found["honest"].reporter, found["honest"].count) == ("enforcer:a", 10)

    hostile = shadow(ShadowKind.SUBJECT, "'); DROP TABLE shadows; -- \u00e9\U0001f600", KEPT + 2000)
    assert await store.shadowed([hostile]) == 0
    assert set(await store.shadows()) == {hostile, found["one more"]}, "the rest was seen by nobody for too long"


def test_a_mark_is_moved_by_whoever_read_it_last_and_by_nobody_else(opened, run):
    async def go():
        store = await opened()
        assert await store.marks() == {}
        first = await store.mark(Mark("out:siem", position=3))
        assert first.version == 1 and await store.marks() == {"out:siem": first}
        for stale in (Mark("out:siem", position=9), replace(first, version=2), Mark("out:other", version=1)):
            with pytest.raises(Conflict):
                await store.mark(stale)
        found = await asyncio.gather(*(store.mark(first.reached(n, 1)) for n in range(8)), return_exceptions=True)
        won = [one for one in found if isinstance(one, Mark)]
        assert len(won) == 1 and all(isinstance(one, Conflict) for one in found if one is not won[0])
        assert await store.marks() == {"out:siem": won[0]}
        await store.close()
        again = await opened()
        assert (await again.marks())["out:siem"] == won[0], "durable"
        await again.close()

    run(go())
