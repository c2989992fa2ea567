"""Status lists over a store in process: an index is one token's, and VALID as long as everything behind it stands."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest
from token_status_list import BitArray

from remit.domain import status
from remit.domain.caller import CallerKind
from remit.domain.errors import Absent, Busy
from remit.domain.freeze import Reach
from remit.domain.status import KEPT, WINDOW, StatusEntry
from remit.formats import jwk, jws
from remit.verbs.freeze import freeze
from remit.verbs.issue import issue
from remit.verbs.revoke import end_lease, end_task
from remit.verbs.rotate import replace_now, rotate, turn_keys
from remit.web import status_lists
from remit.web.status_lists import StatusLists
from tests.delegating import Between, now
from tests.verbs.test_transact import FILES, READ, WORKLOADS, Graph
from tests.world import world

JWT = {**FILES, "remit.toml": FILES["remit.toml"].replace('kind = "fake"', 'kind = "jwt"')}


class Counting(Between):
    """Counts what is read of lists."""

    reads = 0

    async def find(self, kind, where, **more):
        self.reads += kind is StatusEntry
        return await super().find(kind, where, **more)


async def graph():
    w = await world(Counting(), JWT)
    _, call = await w.proved()
    task = await w.task(call, "lead")
    lease, _ = await issue(w.env, now(w, call), task.id, "api")
    return Graph(w, task, call, lease, {name: (await w.proved(name))[1] for name in WORKLOADS})


async def stands(g, lists, *entries):
    """What a verifier reads at each of these places, by another library."""
    keys = [jwk.parse(key) for key in g.w.env.signer.public("token")]
    found = []
    for entry in entries:
        number, _, index = entry.partition("/")
        text = await lists.signed(g.w.env, int(number))
        claims = jws.verify(jws.peek(text), keys, typ=("statuslist+jwt",))
        assert claims["sub"] == f"https://remit.test/status/{number}"
        found.append(BitArray.load(claims["status_list"])[int(index)] == 0)
    return found


@pytest.mark.parametrize(
    "what", ["task", "lease", "freeze bot", "freeze billing", "key", "late", "everything", "the key's own turn"]
)
def test_a_token_stands_exactly_as_long_as_what_is_behind_it(run, what):
    async def main():
        g = await graph()
        lists, operator = StatusLists(), g.w.call(CallerKind.OPERATOR, "op")
        first = await g.carry("billing")
        second = await g.carry("ledger", first)
        places = (g.lease.status, first.status, second.status)
        assert len({*places}) == 3 and await stands(g, lists, *places) == [True, True, True]
        left = [False, False, False]
        match what.split():
            case ["task"]:
                await end_task(g.w.env, now(g.w, g.call), g.task.id, "done")
            case ["lease"]:
                await end_lease(g.w.env, now(g.w, g.call), g.lease.id, "done")
            case ["freeze", name]:
                await freeze(g.w.env, operator, Reach.AGENT, name, "why not")
                left = [name != "bot", False, False]  # what the task holds itself is not the workload's
            case ["everything"]:
                await freeze(g.w.env, operator, Reach.EVERYTHING, "", "why not")
            case ["late"]:
                g.w.clock.now += 120_000  # a transaction token's life
                left = [True, False, False]
            case ["key"]:
                g.w.clock.now += 1_000
                await replace_now(g.w.env, now(g.w, operator), "token", "may be known")
                await g.w.env.signer.refresh()
            case _:  # a planned rotation ends nothing
                await rotate(g.w.env, operator, "token")
                g.w.env = replace(g.w.env, rotation=replace(g.w.env.rotation, overlap=0))
                await turn_keys(g.w.env, now(g.w, operator), "token")
                await g.w.env.signer.refresh()
                left = [True, True, True]
        assert await stands(g, lists, *places) == left

    run(main())


def test_nobody_has_an_index_that_somebody_had(run, monkeypatch):
    monkeypatch.setattr(status, "SIZE", 64)

    async def main():
        w = await world(Between(), {**JWT, "purposes/lead.toml": JWT["purposes/lead.toml"]})
        _, call = await w.proved()
        tasks = [await w.task(call, "lead") for _ in range(40)]
        made = await asyncio.gather(*(issue(w.env, now(w, call), task.id, "api") for task in tasks))
        places = [lease.status for lease, _ in made]
        assert len({*places}) == 40  # of 64: many of them drew twice
        assert places != sorted(places, key=lambda place: int(place.partition("/")[2]))
        entries = {one.key: one for one in await w.store.find(StatusEntry, {}, limit=1000)}
        assert {entries[lease.status].lease for lease, _ in made} == {lease.id for lease, _ in made}

    run(main())


def test_a_full_list_refuses_and_lets_nothing_out(run, monkeypatch):
    monkeypatch.setattr(status, "SIZE", 1)

    async def main():
        g = await graph()
        with pytest.raises(Busy):
            await g.carry("billing")
        assert "TransactionTokenIssued" not in g.w.events()
        g.w.clock.now += WINDOW  # the lease lives as long as a list is open; the next list has room again
        another = await g.w.task(now(g.w, g.call), "lead")
        lease, _ = await issue(g.w.env, now(g.w, g.call), another.id, "api")
        assert lease.status != g.lease.status

    run(main())


def test_who_asks_after_an_end_never_gets_what_was_read_before(run, monkeypatch):
    """A reading is under way when the task ends: whoever asks from then on waits for the next one."""

    async def main():
        g = await graph()
        lists, inside, go_on = StatusLists(), asyncio.Event(), asyncio.Event()
        counted, alive = itertools.count(), status_lists.alive

        async def slow(*asked):
            found = await alive(*asked)
            if not next(counted):
                inside.set()
                await go_on.wait()
            return found

        monkeypatch.setattr(status_lists, "alive", slow)
        early = asyncio.create_task(stands(g, lists, g.lease.status))
        await inside.wait()
        await end_task(g.w.env, now(g.w, g.call), g.task.id, "done")
        late = [asyncio.create_task(stands(g, lists, g.lease.status)) for _ in range(20)]
        await asyncio.sleep(0)
        go_on.set()
        assert await early == [True]  # it asked before
        assert [await one for one in late] == [[False]] * 20
        assert next(counted) <= 2  # and twenty shared one reading

    run(main())


def test_lists_are_bounded_and_say_nothing_of_what_is_not_there(run):
    async def main():
        g = await graph()
        lists, newest = StatusLists(), g.w.clock.now // WINDOW
        with pytest.raises(Absent):
            await lists.signed(g.w.env, newest + 1)
        assert await stands(g, lists, f"{newest - KEPT - 1}/0", f"{newest - 5}/0", "0/7") == [False] * 3
        assert lists._over == {newest - 5}  # read once, and never again
        assert await asyncio.gather(*(lists.current(g.w.env) for _ in range(50))) == [[newest - 1, newest]] * 50
        g.w.clock.now += 2 * WINDOW - 1
        assert int(g.lease.status.partition("/")[0]) in await lists.current(g.w.env)
        for number in range(newest - 400, newest - 300):
            await lists.signed(g.w.env, number)
        reads = g.w.store.reads
        for number in range(newest - 400, newest - 300):
            await lists.signed(g.w.env, number)
        assert g.w.store.reads == reads
        g.w.clock.now += (KEPT - 350) * WINDOW  # what nobody asks for any more is not remembered
        await lists.signed(g.w.env, newest + 10)
        assert len(lists._over) < 100

    run(main())


def test_a_wide_list_leaves_time_to_others(run):
    async def main():
        g = await graph()
        task = g.task
        for _ in range(200):
            await g.carry("billing", scope=READ)
        lists = StatusLists()
        others = 0

        async def other():
            nonlocal others
            while True:
                await asyncio.sleep(0)
                others += 1

        beside = asyncio.create_task(other())
        text = await lists.signed(g.w.env, int(g.lease.status.partition("/")[0]))
        beside.cancel()
        assert len(text) < 4000 and others > 3 and task.calls == 0

    run(main())
