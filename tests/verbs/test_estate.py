"""Tasks that go to an edge and come back, what edges report, and hostile ones: each with the world as it is then."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from dataclasses import replace
from hashlib import sha256

import pytest

from remit.domain.approval import Approval
from remit.domain.caller import CallerKind
from remit.domain.catalogue import CatalogueFiles
from remit.domain.decision import Access, Deny, Hold, Permit
from remit.domain.errors import (
    Absent,
    BadCatalogue,
    BadField,
    Busy,
    Conflict,
    NotEntrusted,
    NotHome,
    ReportRefused,
    SeatLost,
    StoreUnavailable,
    WrongState,
)
from remit.domain.estate import EdgeLog, EdgeSeat
from remit.domain.freeze import Reach
from remit.domain.origin import Observation
from remit.domain.redecision import Redecision
from remit.domain.task import Task, TaskState
from remit.store.memory import MemoryStore
from remit.store.replay import replay
from remit.testing.postgres import PostgresServer
from remit.verbs import entrust as verb
from remit.verbs.admit import admit
from remit.verbs.apply import apply, finish, roll_out, set_share, take_back
from remit.verbs.approve import Given, answer
from remit.verbs.assess import assess
from remit.verbs.decide import decide
from remit.verbs.entrust import entrust, give_back, recall
from remit.verbs.freeze import freeze
from remit.verbs.join import forget, join
from remit.verbs.report import report
from remit.verbs.revoke import end_task
from remit.work.end_leases import end_leases
from tests.delegating import CATALOGUE, hand
from tests.delegating import house as handing
from tests.edge_by_hand import EdgeWorld
from tests.verbs.test_decide import Meddling
from tests.world import FILES, world

EDGES = '\n[edges.west]\nurl = "https://west.example"\nowner = "olga"\npurposes = ["pay"]\n'
WITH_EDGES = {**FILES, "remit.toml": FILES["remit.toml"] + EDGES + EDGES.replace("west", "east")}
LIST = {"customer": "acme"}
PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}
MEMORY = b"m" * 32


async def estate(store=None, *, held=True):
    """A centre, an edge that has joined, an agent's call, and its task, which the edge holds."""
    w = await world(store or Meddling(MemoryStore()), WITH_EDGES)
    edge = await EdgeWorld.beside(w.env, WITH_EDGES)
    await join(w.env, edge.call(), edge.seat)
    _, bot = await w.proved()
    task = await w.task(bot)
    if held:
        await edge.take(await entrust(w.env, edge.call(), task.id, edge.seat), MEMORY)
    return w, edge, bot, task


def operator(w):
    return w.call(CallerKind.OPERATOR, "op")


async def received(w, edge):
    return (await w.store.get(EdgeLog, f"{edge.name}/{edge.seat}")).received


async def explained(w):
    """Every row is what the events say."""
    assert await replay(getattr(w.store, "inner", w.store)) == []


def changed(one, **data):
    """The same place with other data: as whoever owns the edge could write it."""
    leaf = json.loads(one.leaf)
    leaf["data"] |= data
    return replace(one, leaf=json.dumps(leaf).encode())


def with_rows(one, **change):
    """The same place with other rows, and digests that fit: by kind, what is changed in its body."""
    leaf, bodies = json.loads(one.leaf), []
    for write, body in zip(leaf["writes"], one.bodies, strict=True):
        made = json.dumps({**json.loads(body), **change.get(write[0], {})}).encode()
        write[3] = sha256(made).hexdigest()
        bodies.append(made)
    return replace(one, leaf=json.dumps(leaf).encode(), bodies=bodies)


# --- there and back ---


def test_a_task_goes_to_an_edge_and_comes_back_with_all_that_happened(run):
    async def main():
        w, edge, bot, task = await estate()
        with pytest.raises(NotHome) as elsewhere:
            await decide(w.env, bot, Access(task.id, "list", LIST))
        assert elsewhere.value.home == "west"
        assert isinstance(await edge.decide(bot, task.id), Permit)
        await edge.observe(bot, task.id, {"iban": "DE89370400440532013000"})
        assert isinstance(await edge.decide(bot, task.id, "ungranted"), Deny)
        with pytest.raises(NotHome):  # people are asked at the centre
            await edge.decide(bot, task.id, "pay", **PAY)
        log = await edge.log()
        with pytest.raises(WrongState, match="taken in up to 0"):
            await give_back(w.env, edge.call(), task.id, edge.seat, len(log))
        assert await report(w.env, edge.call(), edge.seat, log) == len(log)
        for _ in range(2):
            await give_back(w.env, edge.call(), task.id, edge.seat, len(log))
        home = await w.store.get(Task, task.id)
        assert (home.home, home.seat, home.calls, home.observed) == ("", "", 1, 1)
        assert (await w.store.get(Observation, f"{task.id}/000001")).values > 0
        assert isinstance(await decide(w.env, bot, Access(task.id, "pay", PAY)), Hold)
        told = [json.loads(leaf) for leaf, _ in w.store.inner._events]
        there = [one for one in told if one.get("via")]
        assert [one["type"] for one in there] == ["AccessDecided", "ResultObserved", "AccessDecided"]
        assert {one["by"] for one in there} == {"edge:west"}
        assert there[0]["via"] == {"edge": "west", "seat": edge.seat, "index": 2, "at": w.clock.now}
        assert all(one["data"]["catalogue"] for one in told if one["type"] == "AccessDecided")
        await explained(w)

    run(main())


def test_a_task_is_entrusted_once_and_again_to_who_holds_it(run):
    async def main():
        w, edge, bot, task = await estate()
        again = await entrust(w.env, edge.call(), task.id, edge.seat)
        assert again.task.home == "west" and w.events().count("TaskEntrusted") == 1
        east = await EdgeWorld.beside(w.env, WITH_EDGES, "east")
        await join(w.env, east.call(), east.seat)
        with pytest.raises(NotEntrusted, match="elsewhere"):
            await entrust(w.env, east.call(), task.id, east.seat)
        both = await w.task(bot), await w.task(bot)
        for one in both:
            asked = [entrust(w.env, e.call(), one.id, e.seat) for e in (edge, east)]
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert sorted(type(f).__name__ for f in found) == ["Entrusted", "NotEntrusted"]

    run(main())


def test_a_return_that_comes_late_moves_nothing(run):
    """The edge may have been entrusted with the task again since, and decide for it."""

    async def main():
        w, edge, _, task = await estate()
        old = len(await edge.log())
        await report(w.env, edge.call(), edge.seat, await edge.log())
        await give_back(w.env, edge.call(), task.id, edge.seat, old)
        await edge.take(await entrust(w.env, edge.call(), task.id, edge.seat), MEMORY)
        await report(w.env, edge.call(), edge.seat, await edge.log())
        with pytest.raises(WrongState):
            await give_back(w.env, edge.call(), task.id, edge.seat, old)
        assert (await w.store.get(Task, task.id)).home == "west"
        with pytest.raises(Absent):
            await give_back(w.env, edge.call(), "tsk_none", edge.seat, old)

    run(main())


WHY_NOT = [
    "over",
    "late",
    "absent",
    "purpose",
    "agent",
    "frozen",
    "superseded",
    "asked",
    "agreed",
    "no identity",
    "read",
    "posture",
]


@pytest.mark.parametrize("why", WHY_NOT)
def test_a_task_that_needs_the_centre_stays_there(run, why, monkeypatch):
    async def main():
        w, edge, bot, task = await estate(held=False)
        name, refusal, call = task.id, NotEntrusted, edge.call()
        match why:
            case "over":
                await end_task(w.env, operator(w), task.id, "enough")
            case "late":
                call = replace(call, now=task.deadline)
            case "absent":
                name, refusal = "tsk_none", Absent
            case "purpose":
                refusal = Absent
                files = {**WITH_EDGES, "remit.toml": WITH_EDGES["remit.toml"].replace('["pay"]', '["asked"]')}
                await apply(w.env, operator(w), files)
            case "agent":
                files = {k: v.replace('["bot"]', '["other"]') for k, v in WITH_EDGES.items() if k != "agents/bot.toml"}
                await apply(w.env, operator(w), files)
            case "frozen":
                await freeze(w.env, operator(w), Reach.AGENT, "bot", "odd")
            case "superseded":
                pay = WITH_EDGES["purposes/pay.toml"].replace("max_calls = 5", "max_calls = 4")
                await apply(w.env, operator(w), {**WITH_EDGES, "purposes/pay.toml": pay})
            case "asked":
                assert isinstance(await decide(w.env, bot, Access(task.id, "pay", PAY)), Hold)
            case "agreed":
                monkeypatch.setattr(w.store.inner, "find", _standing(w.store.inner))
            case "no identity":
                monkeypatch.setattr(w.store.inner, "get", _nobody(w.store.inner))
            case "read":
                monkeypatch.setattr(verb, "MOST_READ", -1)
            case "posture":
                await assess(w.env, operator(w), "bot", {"disk_encrypted": "yes"}, call.now + 60_000)
        with pytest.raises(refusal):
            await entrust(w.env, call, name, edge.seat)
        assert "TaskEntrusted" not in w.events()

    run(main())


def _standing(store):
    find = store.find

    async def found(kind, where, **more):
        return ["a standing yes"] if kind.__name__ == "StandingYes" else await find(kind, where, **more)

    return found


def _nobody(store):
    get = store.get

    async def found(kind, key):
        return None if kind.__name__ == "Identity" else await get(kind, key)

    return found


def test_no_part_of_a_hand_off_leaves(run):
    async def main():
        files = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + EDGES.replace('["pay"]', "[]")}
        w = await handing()
        await apply(w.env, operator(w), files)
        edge = await EdgeWorld.beside(w.env, files)
        await join(w.env, edge.call(), edge.seat)
        _, bot = await w.proved()
        task = await w.task(bot, "lead", customer="acme")
        await hand(w, bot, task)
        with pytest.raises(NotEntrusted, match="hand-off"):
            await entrust(w.env, edge.call(), task.id, edge.seat)

    run(main())


# --- races ---


@pytest.mark.parametrize("what", ["revoke", "freeze", "apply", "join", "forget"])
def test_whatever_comes_between_reading_and_entrusting_is_seen(run, what):
    async def main():
        w, edge, _, task = await estate(held=False)
        seat = await w.store.get(EdgeSeat, "west")

        async def meddle():
            match what:
                case "revoke":
                    await end_task(w.env, operator(w), task.id, "stop")
                case "freeze":
                    await freeze(w.env, operator(w), Reach.EVERYTHING, "", "stop")
                case "apply":
                    without = {**WITH_EDGES, "remit.toml": FILES["remit.toml"]}
                    await apply(w.env, operator(w), without)
                case "join":
                    await join(w.env, edge.call(), "another-incarnation")
                case "forget":
                    await forget(w.env, operator(w), "west", "stolen")

        w.store.meddle = meddle
        refusal = {"apply": Absent, "join": SeatLost, "forget": SeatLost}.get(what, NotEntrusted)
        with pytest.raises(refusal):
            await entrust(w.env, edge.call(), task.id, edge.seat)
        assert seat.seat == edge.seat and (await w.store.get(Task, task.id)).home == ""

    run(main())


def test_a_revocation_between_reads_and_report_loses_no_event_and_no_end(run):
    async def main():
        w, edge, bot, task = await estate()
        for _ in range(3):
            await edge.decide(bot, task.id)

        async def meddle():
            await end_task(w.env, operator(w), task.id, "stop")

        w.store.meddle = meddle
        log = await edge.log()
        assert await report(w.env, edge.call(), edge.seat, log) == len(log)
        after = await w.store.get(Task, task.id)
        assert (after.state, after.calls) == (TaskState.REVOKED, 3)
        assert w.events().count("AccessDecided") == 3
        await explained(w)

    run(main())


def test_a_recall_between_reads_and_report_is_kept(run):
    async def main():
        w, edge, bot, task = await estate()
        await edge.decide(bot, task.id)

        async def meddle():
            await recall(w.env, bot, task.id, "a call")

        w.store.meddle = meddle
        await report(w.env, edge.call(), edge.seat, await edge.log())
        called = await w.store.get(Task, task.id)
        assert called.recalled_at and called.calls == 1
        assert (await recall(w.env, bot, task.id, "again")).version == called.version
        given = await entrust(w.env, edge.call(), task.id, edge.seat)
        assert given.task.recalled_at  # whoever takes it now gives it back
        with pytest.raises(Absent):
            await recall(w.env, w.call(name="other"), task.id, "mine")

    run(main())


def test_two_replicas_that_take_the_same_report_take_it_once(run):
    async def main():
        w, edge, bot, task = await estate()
        for _ in range(4):
            await edge.decide(bot, task.id)
        log = await edge.log()
        taken = await asyncio.gather(*(report(w.env, edge.call(), edge.seat, log) for _ in range(5)))
        assert taken == [len(log)] * 5
        assert (await w.store.get(Task, task.id)).calls == 4 and w.events().count("AccessDecided") == 4
        await explained(w)

    run(main())


def test_a_store_that_fails_in_a_report_loses_and_doubles_nothing(run):
    async def main():
        for fault in ("lost", "persisted"):
            w, edge, bot, task = await estate()
            for _ in range(3):
                await edge.decide(bot, task.id)
            log = await edge.log()

            faults = iter(["", fault])
            commit = w.store.inner.commit

            async def failing(change, commit=commit, faults=faults):
                said = next(faults, "")
                if said == "lost":
                    raise StoreUnavailable("lost")
                number = await commit(change)
                if said:
                    raise StoreUnavailable("persisted")
                return number

            w.store.inner.commit = failing
            with pytest.raises(StoreUnavailable):
                await report(w.env, edge.call(), edge.seat, log)
            assert await report(w.env, edge.call(), edge.seat, log) == len(log)
            assert (await w.store.get(Task, task.id)).calls == 3 and w.events().count("AccessDecided") == 3
            await explained(w)

    run(main())


def test_a_batch_is_one_group_commit_at_postgresql_too(run, postgres: PostgresServer):
    import psycopg

    from remit.store.postgres import PostgresStore

    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")

    async def main():
        store = await PostgresStore.open(postgres.dsn(database=name))
        try:
            w, edge, bot, task = await estate(store)
            for _ in range(5):
                await edge.decide(bot, task.id)
            log = await edge.log()
            both = await asyncio.gather(*(report(w.env, edge.call(), edge.seat, log) for _ in range(2)))
            assert both == [len(log)] * 2
            assert (await store.get(Task, task.id)).calls == 5
            assert await replay(store) == []
        finally:
            await store.close()

    run(main())


# --- after the end ---


def test_what_was_decided_before_the_end_was_heard_is_recorded_and_nothing_read_comes_back(run):
    async def main():
        w, edge, bot, task = await estate()
        await edge.decide(bot, task.id)
        await edge.observe(bot, task.id, {"iban": "DE89370400440532013000"})
        await end_task(w.env, operator(w), task.id, "stop")
        await end_leases(w.env, w.clock.now)
        assert (await w.store.get(Task, task.id)).settled_at
        log = await edge.log()
        assert await report(w.env, edge.call(), edge.seat, log) == len(log)
        assert (await w.store.get(Observation, f"{task.id}/000001")).values == 0
        denied = await decide(w.env, bot, Access(task.id, "list", LIST))
        assert isinstance(denied, Deny) and denied.why[0].reason.value == "task_not_open"

    run(main())


# --- incarnations ---


def test_an_edge_without_its_store_is_another_and_the_former_is_never_heard_again(run):
    async def main():
        w, edge, bot, task = await estate()
        await edge.decide(bot, task.id)
        log = await edge.log()
        new = await EdgeWorld.beside(w.env, WITH_EDGES)
        assert (await join(w.env, new.call(), new.seat)).seat == new.seat
        assert (await join(w.env, new.call(), new.seat)).since == w.clock.now
        old = edge.call()
        for asked in (
            report(w.env, old, edge.seat, log),
            join(w.env, old, edge.seat),
            entrust(w.env, old, task.id, edge.seat),
            give_back(w.env, old, task.id, edge.seat, 0),
            entrust(w.env, old, task.id, ""),
        ):
            with pytest.raises(SeatLost):
                await asked
        with pytest.raises(NotEntrusted):  # nobody knows what was spent there
            await entrust(w.env, new.call(), task.id, new.seat)
        with pytest.raises(ReportRefused, match="not this edge's"):
            await report(w.env, new.call(), new.seat, log)
        assert (await w.store.get(Task, task.id)).calls == 0

    run(main())


def test_forgetting_an_edge_ends_what_it_holds(run):
    async def main():
        w, edge, bot, task = await estate()
        at_home = await w.task(bot)
        assert await forget(w.env, operator(w), "west", "stolen") == 1
        assert (await w.store.get(Task, task.id)).state is TaskState.REVOKED
        assert (await w.store.get(Task, at_home.id)).state is TaskState.OPEN
        assert await forget(w.env, operator(w), "west", "again") == 0
        assert w.events().count("EdgeForgotten") == 1
        for asked in (join(w.env, edge.call(), edge.seat), report(w.env, edge.call(), edge.seat, [])):
            with pytest.raises(SeatLost):
                await asked
        await join(w.env, edge.call(), "a-new-incarnation")
        with pytest.raises(Absent):
            await forget(w.env, operator(w), "nobody", "?")
        for seat in ("", "short", "x" * 65, "with space in it....", "a/b-aaaaaaaaaaaaaaaaaa"):
            with pytest.raises(BadField):
                await join(w.env, edge.call(), seat)

    run(main())


class Dawdling(MemoryStore):
    """Whoever asks waits a little, by chance, before it is looked and before it is written."""

    chance = None

    async def get(self, kind, key):
        await self._dawdle()
        return await super().get(kind, key)

    async def commit(self, change):
        await self._dawdle()
        return await super().commit(change)

    async def _dawdle(self):
        for _ in range(self.chance.randrange(4) if self.chance else 0):
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(12))
def test_copies_of_a_report_that_are_cut_differently_lose_nothing_and_refuse_nobody(run, seed):
    """A link doubles and an edge asks again: every place is written once, in its order, whoever was faster."""

    async def main():
        w, edge, bot, task = await estate(Dawdling())
        other = await w.task(bot)
        await edge.take(await entrust(w.env, edge.call(), other.id, edge.seat), MEMORY)
        for n in range(6):
            await edge.decide(bot, (task, other)[n % 2].id, ("list", "ungranted")[n % 3 == 2])
        log = await edge.log()
        w.store.chance = chance = random.Random(seed)
        copies = [report(w.env, edge.call(), edge.seat, log[: chance.randint(1, len(log))]) for _ in range(5)]
        await asyncio.gather(*copies)
        assert await report(w.env, edge.call(), edge.seat, log) == len(log)
        w.store.chance = None
        told = [json.loads(leaf) for leaf, _ in w.store._events]
        decided = [one["via"]["index"] for one in told if one["type"] == "AccessDecided"]
        assert decided == [n for n, one in enumerate(log) if json.loads(one.leaf)["type"] == "AccessDecided"]
        assert "EdgeReportRefused" not in w.events()

    run(main())


class Losing(MemoryStore):
    losing = False

    async def commit(self, change):
        if self.losing:
            raise Conflict("lost")
        return await super().commit(change)


def test_who_loses_for_ever_is_told_so(run):
    async def main():
        w, edge, bot, task = await estate(Losing())
        free = await w.task(bot)
        log = await edge.log()
        await report(w.env, edge.call(), edge.seat, log[:1])
        w.store.losing = True
        for asked in (
            entrust(w.env, edge.call(), free.id, edge.seat),
            recall(w.env, bot, task.id, "a call"),
            give_back(w.env, edge.call(), task.id, edge.seat, 1),
            report(w.env, edge.call(), edge.seat, log),
            join(w.env, edge.call(), "a-new-incarnation"),
        ):
            with pytest.raises(Busy):
                await asked
        w.store.losing = False
        here = await w.store.get(EdgeSeat, "west")
        await w.store.commit(_vacated(w, here))
        w.store.losing = True
        with pytest.raises(Busy):
            await forget(w.env, operator(w), "west", "stolen")

    run(main())


def _vacated(w, here):
    from remit.domain import events
    from remit.domain.change import Change

    return Change(events.EdgeForgotten("west", here.seat, 1, "x"), operator(w)).put(replace(here, seat=""), was=here)


def test_a_row_that_cannot_be_read_stops_it(run, monkeypatch):
    async def main():
        w, edge, _, task = await estate()
        get = w.store.inner.get

        async def without(kind, key):
            return None if kind is EdgeLog else await get(kind, key)

        monkeypatch.setattr(w.store.inner, "get", without)
        for asked in (
            report(w.env, edge.call(), edge.seat, []),
            give_back(w.env, edge.call(), task.id, edge.seat, 0),
        ):
            with pytest.raises(StoreUnavailable):
                await asked

    run(main())


# --- hostile edges ---


async def told():
    """A world, its edge, its task, and a log: two of housekeeping, a permit, a result, a denial."""
    w, edge, bot, task = await estate()
    await edge.decide(bot, task.id)
    await edge.observe(bot, task.id, {"iban": "DE89370400440532013000"})
    await edge.decide(bot, task.id, "ungranted")
    log = await edge.log()
    kinds = [json.loads(one.leaf)["type"] for one in log]
    assert kinds == ["CatalogueApplied", "TaskTaken", "AccessDecided", "ResultObserved", "AccessDecided"]
    return w, edge, task, log


PERMIT, RESULT, DENIAL = 2, 3, 4
FORGED = {
    "another agent": (PERMIT, {"agent": "other"}),
    "another task": (PERMIT, {"task": "tsk_none"}),
    "an approval": (PERMIT, {"approval": "apv_1"}),
    "a chain": (PERMIT, {"chain": ["tsk_1"]}),
    "a hold": (PERMIT, {"decision": "hold"}),
    "no reasons": (PERMIT, {"reasons": []}),
    "a reason that there is not": (PERMIT, {"reasons": ["because"]}),
    "a catalogue that never was": (PERMIT, {"catalogue": f"sha256:{'0' * 64}"}),
    "an access that is none": (PERMIT, {"access": "x"}),
    "a count that is not": (PERMIT, {"calls": 4}),
    "a repeat that is not": (PERMIT, {"repeats": 1}),
    "a lighter label": (PERMIT, {"sensitivity": "restricted"}),
    "a word that is none": (PERMIT, {"origin": "<script>"}),
    "a long text": (PERMIT, {"agent": "b" * 257}),
    "a long tool": (PERMIT, {"tool": "l" * 129}),
    "a long list": (PERMIT, {"policies": ["p"] * 65}),
    "a field more": (PERMIT, {"more": 1}),
    "a number for a text": (PERMIT, {"tool": 1}),
    "a denial that spends": (PERMIT, {"decision": "deny"}),
    "a permit that spends nothing": (DENIAL, {"decision": "permit"}),
    "another number": (RESULT, {"number": 2}),
    "another result's tool": (RESULT, {"tool": "mail"}),
    "a cleaner result": (RESULT, {"sensitivity": "public"}),
    "fewer values": (RESULT, {"values": 0}),
}
ROWS = {
    "calls that fall": (PERMIT, {"Task": {"calls": -1}}),
    "calls that jump": (PERMIT, {"Task": {"calls": 3}}),
    "uses that it did not have": (PERMIT, {"Task": {"uses": {"pay": 7}}}),
    "uses below none": (PERMIT, {"Task": {"uses": {"list": -1}}}),
    "what it had not read": (PERMIT, {"Task": {"observed": 3}}),
    "another task's row": (PERMIT, {"Task": {"id": "tsk_other"}}),
    "a rank that there is not": (PERMIT, {"Task": {"label": {"trust": 7, "sensitivity": 0, "sources": []}}}),
    "a label that lightens": (RESULT, {"Task": {"label": {"trust": 1, "sensitivity": 0, "sources": []}}}),
    "no result read": (RESULT, {"Task": {"observed": 0}}),
    "another result's number": (RESULT, {"Observation": {"number": 2}}),
    "another task's result": (RESULT, {"Observation": {"task": "tsk_other"}}),
    "another hand-off's result": (RESULT, {"Observation": {"root": "tsk_other"}}),
    "a result of nobody": (RESULT, {"Observation": {"trust": 9}}),
    "digests that are none": (RESULT, {"Observation": {"trusted": "*"}}),
    "digests cut short": (RESULT, {"Observation": {"trusted": "AAAA"}}),
    "a field more in a row": (RESULT, {"Observation": {"more": 1}}),
}


async def refused(w, edge, log, place, what=""):
    """Everything before `place` is taken in; there it stops, visibly, however often it is sent."""
    with pytest.raises(ReportRefused, match=f"Event {place} "):
        await report(w.env, edge.call(), edge.seat, log)
        pytest.fail(f"{what} was taken in")
    row = await w.store.get(EdgeLog, f"west/{edge.seat}")
    assert (row.received, bool(row.refused)) == (place, True), what


async def each_is_refused(cases, forge):
    """One after the other at one centre, the first places first; then what is true still arrives."""
    w, edge, task, log = await told()
    for what, (place, *how) in sorted(cases.items(), key=lambda case: case[1][0]):
        await refused(w, edge, [forge(one, *how) if one.index == place else one for one in log], place, what)
        assert (await w.store.get(Task, task.id)).calls == (0 if place == PERMIT else 1), what
    assert w.events().count("EdgeReportRefused") == len({place for place, *_ in cases.values()})
    assert await report(w.env, edge.call(), edge.seat, log) == len(log)
    assert not (await w.store.get(EdgeLog, f"west/{edge.seat}")).refused
    await explained(w)


def test_a_forged_field_is_refused_and_stops_the_log_there(run):
    run(each_is_refused(FORGED, lambda one, data: changed(one, **data)))


def test_a_forged_row_is_refused(run):
    run(each_is_refused(ROWS, lambda one, rows: with_rows(one, **rows)))


def leaf(one, **top):
    return replace(one, leaf=json.dumps({**json.loads(one.leaf), **top}).encode())


BYTES = {
    "an event that an edge never writes": lambda one: leaf(one, type="TokenIssued"),
    "an event that there is not": lambda one: leaf(one, type="Whatever"),
    "another version": lambda one: leaf(one, v=2),
    "a time before time": lambda one: leaf(one, at=-1),
    "somebody else's via": lambda one: leaf(one, via={"edge": "east"}),
    "no JSON": lambda one: replace(one, leaf=b"{"),
    "a member twice": lambda one: replace(one, leaf=one.leaf.replace(b'{"v":1,', b'{"v":1,"v":1,', 1)),
    "a leaf too large": lambda one: leaf(one, trace="x" * 20_000),
    "a body too large": lambda one: replace(
        with_rows(one), bodies=[b"[" + b" " * 300_000 + b"]"], leaf=_digests(one, b"[" + b" " * 300_000 + b"]")
    ),
    "a body that is another": lambda one: replace(one, bodies=[b"{}"]),
    "no body": lambda one: replace(one, bodies=[]),
    "a row that edges have none of": lambda one: replace(
        one, leaf=one.leaf.replace(b'["Task"', b'["AccessKey"'), bodies=one.bodies
    ),
    "a row twice": lambda one: leaf(
        replace(one, bodies=[*one.bodies, *one.bodies]), writes=json.loads(one.leaf)["writes"] * 2
    ),
}


def _digests(one, body):
    found = json.loads(one.leaf)
    found["writes"] = [[*found["writes"][0][:3], sha256(body).hexdigest()]]
    return json.dumps(found).encode()


def test_bytes_that_are_no_report_are_refused(run):
    run(each_is_refused({what: (PERMIT, spoil) for what, spoil in BYTES.items()}, lambda one, spoil: spoil(one)))


def test_a_decision_reads_nothing(run):
    async def main():
        w, edge, _, log = await told()
        read = json.loads(log[RESULT].leaf)["writes"]
        extra = [next(write for write in read if write[0] == "Observation")]
        body = next(b for write, b in zip(read, log[RESULT].bodies, strict=True) if write[0] == "Observation")
        one = leaf(log[PERMIT], writes=json.loads(log[PERMIT].leaf)["writes"] + extra)
        await refused(w, edge, [*log[:PERMIT], replace(one, bodies=[*one.bodies, body]), *log[RESULT:]], PERMIT)

    run(main())


def test_a_budget_is_not_reported_over(run):
    async def main():
        w, edge, bot, task = await estate()
        for _ in range(5):
            await edge.decide(bot, task.id)
        log = await edge.log()
        await report(w.env, edge.call(), edge.seat, log)
        row = {"Task": {"calls": 6}}
        more = replace(changed(with_rows(log[-1], **row), calls=5), index=len(log))
        with pytest.raises(ReportRefused, match="budget"):
            await report(w.env, edge.call(), edge.seat, [more])

    run(main())


def test_places_that_repeat_skip_or_run_away(run):
    async def main():
        w, edge, task, log = await told()
        assert await report(w.env, edge.call(), edge.seat, log[3:]) == 0  # nothing is taken in behind a gap
        for broken in ([log[0], log[2]], [log[1], log[0]], [log[0], log[0]], [log[0]] * 257):
            with pytest.raises(BadField):
                await report(w.env, edge.call(), edge.seat, broken)
        assert await report(w.env, edge.call(), edge.seat, log[:4]) == 4
        assert await report(w.env, edge.call(), edge.seat, log[2:4]) == 4
        assert await report(w.env, edge.call(), edge.seat, []) == 4
        again = [replace(log[PERMIT], index=4)]  # the same permit once more, in a new place
        with pytest.raises(ReportRefused, match="Event 4 "):
            await report(w.env, edge.call(), edge.seat, again)
        assert (await w.store.get(Task, task.id)).calls == 1
        with pytest.raises(WrongState):
            (await w.store.get(EdgeLog, f"west/{edge.seat}")).took(0)

    run(main())


def test_a_trace_that_is_none_is_left_out(run):
    async def main():
        w, edge, _, log = await told()
        mine = [leaf(one, trace="a" * 32 if one.index == PERMIT else "<script>") for one in log]
        await report(w.env, edge.call(), edge.seat, mine)
        told_ = [json.loads(one) for one, _ in w.store.inner._events]
        assert [one["trace"] for one in told_ if one.get("via")] == ["a" * 32, "", ""]

    run(main())


def test_another_edges_task_is_not_reported_on(run):
    async def main():
        w, edge, _, log = await told()
        east = await EdgeWorld.beside(w.env, WITH_EDGES, "east")
        await join(w.env, east.call(), east.seat)
        with pytest.raises(ReportRefused, match="not this edge's"):
            await report(w.env, east.call(), east.seat, log)
        assert (await w.store.get(EdgeLog, f"east/{east.seat}")).received == 2
        assert await report(w.env, edge.call(), edge.seat, log) == len(log)

    run(main())


def test_an_edge_acts_for_tasks_of_its_purposes_and_no_others(run):
    async def main():
        w, edge, _, task = await estate(held=False)
        confined = replace(edge.call(), caller=replace(edge.call().caller, purposes=("asked",)))
        with pytest.raises(Absent):
            await decide(w.env, confined, Access(task.id, "list", LIST))
        fitting = replace(edge.call(), caller=replace(edge.call().caller, purposes=("pay",)))
        assert isinstance(await decide(w.env, fitting, Access(task.id, "list", LIST)), Permit)
        assert isinstance(await decide(w.env, edge.call(), Access(task.id, "list", LIST)), Permit)

    run(main())


def test_only_an_edge_of_the_catalogue_gets_a_key(run):
    async def main():
        w, *_ = await estate(held=False)
        assert (await admit(w.env, operator(w), CallerKind.EDGE, "west", 1000))[1].kind is CallerKind.EDGE
        with pytest.raises(Absent):
            await admit(w.env, operator(w), CallerKind.EDGE, "nowhere", 1000)

    run(main())


def test_what_was_agreed_to_meanwhile_waits_for_the_task_to_come_home(run):
    """An approval that is asked for between reading and entrusting: nothing is lost, the task comes back for it."""

    async def main():
        w, edge, bot, task = await estate(held=False)

        async def meddle():
            assert isinstance(await decide(w.env, bot, Access(task.id, "pay", PAY)), Hold)

        w.store.meddle = meddle
        await edge.take(await entrust(w.env, edge.call(), task.id, edge.seat), MEMORY)
        asked = (await w.store.find(Approval, {"task": task.id}))[0]
        await answer(
            w.env, w.call(CallerKind.PERSON, "frank", groups=("finance",)), asked.id, Given(asked.digest, True)
        )
        with pytest.raises(NotHome):
            await decide(w.env, bot, Access(task.id, "pay", PAY))
        log = await edge.log()
        await report(w.env, edge.call(), edge.seat, log)
        await give_back(w.env, edge.call(), task.id, edge.seat, len(log))
        assert isinstance(await decide(w.env, bot, Access(task.id, "pay", PAY)), Permit)

    run(main())


# --- a revision at some edges first ---


def without_list():
    """The same, but that the policies forbid `list` for now."""
    more = '\n@id("no-list") forbid (principal, action == Remit::Action::"list", resource);\n'
    return {**WITH_EDGES, "policies/default.cedar": WITH_EDGES["policies/default.cedar"] + more}


def other_purpose():
    pay = WITH_EDGES["purposes/pay.toml"].replace("max_calls = 5", "max_calls = 4")
    return {**WITH_EDGES, "purposes/pay.toml": pay}


def shares(head):
    """From which percentage on each of two edges has it."""
    return {name: next(n for n in range(1, 101) if replace(head, share=n).at(name) == head.rollout) for name in EDGE}


EDGE = ("east", "west")


def test_a_revision_is_rolled_out_by_share_of_edges_and_back(run):
    async def main():
        w, edge, bot, task = await estate()
        before, _ = await w.env.in_force()
        head, found = await roll_out(w.env, operator(w), without_list(), 1)
        assert "policies/default.cedar" in " ".join(found.changes) and head.digest == before.digest
        at = shares(head)
        head = await set_share(w.env, operator(w), at["west"])
        assert (head.at("west"), head.at("")) == (head.rollout, before.digest)
        await edge.follow(w.env)
        denied = await edge.decide(bot, task.id)
        assert isinstance(denied, Deny) and denied.why[0].policy == "no-list"
        assert isinstance(await decide(w.env, bot, Access((await w.task(bot)).id, "list", LIST)), Permit)
        log = await edge.log()
        assert await report(w.env, edge.call(), edge.seat, log) == len(log)
        decided = [json.loads(leaf)["data"] for leaf, _ in w.store.inner._events if b"AccessDecided" in leaf]
        assert {one["catalogue"] for one in decided} == {head.rollout, before.digest}
        await take_back(w.env, operator(w), "it denies too much")
        await edge.follow(w.env)
        assert isinstance(await edge.decide(bot, task.id), Permit)
        await roll_out(w.env, operator(w), without_list(), 100)
        done = await finish(w.env, operator(w))
        assert (done.digest, done.share, done.at("west")) == (head.rollout, 0, head.rollout)
        assert isinstance(await decide(w.env, bot, Access((await w.task(bot)).id, "list", LIST)), Deny)
        kinds = [kind for kind in w.events() if kind.startswith(("Rollout", "CatalogueApplied"))]
        assert kinds == [
            "CatalogueApplied",
            "RolloutSet",
            "RolloutSet",
            "RolloutTakenBack",
            "RolloutSet",
            "CatalogueApplied",
        ]
        await explained(w)

    run(main())


def test_a_rollout_that_concerns_no_task_redecides_none_and_one_that_cannot_be_read_is_not_finished(run, monkeypatch):
    async def main():
        w, *_ = await estate(held=False)
        more = {"tools/more.toml": 'effect = "read"\n'}
        await roll_out(w.env, operator(w), {**WITH_EDGES, **more}, 100)
        get = w.store.inner.get

        async def lost(kind, key):
            return None if kind is CatalogueFiles else await get(kind, key)

        with monkeypatch.context() as without:
            without.setattr(w.store.inner, "get", lost)
            with pytest.raises(StoreUnavailable):
                await finish(w.env, operator(w))
        await finish(w.env, operator(w))
        assert not await w.env.store.find(Redecision, {})

    run(main())


def test_one_revision_is_rolled_out_at_a_time(run):
    async def main():
        w, *_ = await estate(held=False)
        for asked in (set_share(w.env, operator(w), 5), finish(w.env, operator(w)), take_back(w.env, operator(w), "x")):
            with pytest.raises(WrongState, match="No revision"):
                await asked
        with pytest.raises(WrongState, match="beside what is in force"):
            await roll_out(w.env, operator(w), WITH_EDGES, 10)
        for share in (0, 101):
            with pytest.raises(BadField):
                await roll_out(w.env, operator(w), without_list(), share)
        with pytest.raises(BadCatalogue):
            await roll_out(w.env, operator(w), {**WITH_EDGES, "agents/bot.toml": "owner ="}, 10)
        await roll_out(w.env, operator(w), without_list(), 10)
        with pytest.raises(WrongState):
            await roll_out(w.env, operator(w), other_purpose(), 10)
        with pytest.raises(WrongState, match="rolled out"):
            await apply(w.env, operator(w), other_purpose())

    run(main())


def test_a_task_of_another_revision_of_its_purpose_is_decided_at_the_centre(run):
    async def main():
        w, edge, bot, task = await estate()
        free = await w.task(bot)
        await roll_out(w.env, operator(w), other_purpose(), 100)
        await edge.follow(w.env)
        with pytest.raises(NotHome):
            await edge.decide(bot, task.id)
        with pytest.raises(NotEntrusted):
            await entrust(w.env, edge.call(), free.id, edge.seat)
        assert isinstance(await decide(w.env, bot, Access(free.id, "list", LIST)), Permit)

    run(main())


def test_tasks_of_a_purpose_that_is_taken_from_an_edge_come_home(run):
    async def main():
        w, edge, bot, task = await estate()
        files = {**WITH_EDGES, "remit.toml": WITH_EDGES["remit.toml"].replace('["pay"]', '["asked"]')}
        await apply(w.env, operator(w), files)
        await edge.follow(w.env)
        with pytest.raises(NotHome):
            await edge.decide(bot, task.id)
        known = replace(edge.call(), caller=replace(edge.call().caller, purposes=("asked",)))
        log = await edge.log()
        await report(w.env, known, edge.seat, log)
        await give_back(w.env, known, task.id, edge.seat, len(log))
        assert (await w.store.get(Task, task.id)).home == ""
        with pytest.raises(Absent):
            await give_back(w.env, known, task.id, edge.seat, len(log))

    run(main())


def test_an_edge_decides_only_while_it_is_fresh_and_what_it_says_of_that_arrives(run):
    async def main():
        w, edge, bot, task = await estate()
        age = [5_001]
        edge.env = replace(edge.env, age=lambda: age.pop(0))
        stale = await edge.decide(bot, task.id)
        age += [5_000, 5_001]  # it was paused between deciding and answering
        late = await edge.decide(bot, task.id)
        age += [0, 5_000]
        assert isinstance(await edge.decide(bot, task.id), Permit)
        for denied in (stale, late):
            assert isinstance(denied, Deny) and denied.why[0].reason.value == "edge_stale"
        log = await edge.log()
        assert await report(w.env, edge.call(), edge.seat, log) == len(log)
        assert (await w.store.get(Task, task.id)).calls == 2  # what was permitted and did not leave is spent
        await apply(w.env, operator(w), FILES)
        await edge.follow(w.env)
        age += [0]
        gone = await edge.decide(bot, task.id)
        assert isinstance(gone, Deny) and gone.why[0].reason.value == "edge_unknown"

    run(main())
