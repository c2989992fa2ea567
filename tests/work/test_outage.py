"""An issuer that is down: said once, waited for in sight, drained oldest first, and nobody else's kill is late."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import msgspec
import pytest

from remit.domain.caller import CallerKind
from remit.domain.errors import StoreUnavailable
from remit.domain.lease import IssuerOutage, Lease, LeaseState, Waits, alive
from remit.domain.task import Task
from remit.store.replay import replay
from remit.store.sqlite import SqliteStore
from remit.testing.issuer import FakeIssuer
from remit.verbs.issue import issue
from remit.verbs.revoke import end_task
from remit.work import kill_leases
from remit.work.end_leases import end_leases
from remit.work.kill_leases import GIVE_UP, Lanes
from tests.world import changed, world

MANY = 120


class Ordered(FakeIssuer):
    """Remembers the order in which it was asked to kill what it then killed."""

    def __init__(self, clock):
        super().__init__(clock)
        self.order: list[str] = []

    async def kill(self, lease: Lease) -> None:
        await super().kill(lease)
        self.order.append(lease.handle)


async def two_issuers(store=None):
    files = changed()
    files["remit.toml"] = files["remit.toml"].replace('"static"', '"fake"')
    w = await world(store, files)
    issuers = {"pg": Ordered(w.clock), "box": Ordered(w.clock)}
    w.env = replace(w.env, issuer=lambda config: issuers[config.name])
    return w, issuers


async def closed(w, call, credential, task=None):
    """A task with one credential, ended now."""
    call = replace(call, now=w.clock.now)
    task = await w.task(call)
    lease, _ = await issue(w.env, call, task.id, credential)
    await end_task(w.env, call, task.id, "done")
    return task, lease


async def said(w, kind):
    found = [msgspec.json.decode(leaf) for _, leaf, _ in await w.store.history(0, 1_000_000)]
    return [event["data"] for event in found if event["type"] == kind]


def test_an_hour_down_with_hundreds_of_leases_loses_nothing_and_delays_nobody_else(run, tmp_path):
    async def main():
        w, issuers = await two_issuers(SqliteStore.open(tmp_path / "remit.db"))
        _, call = await w.proved()
        issuers["pg"].down = False
        lanes = [Lanes(), Lanes()]
        made = []
        waiting = [await w.task(call) for _ in range(MANY)]
        for task in waiting:
            lease, _ = await issue(w.env, call, task.id, "db")
            made.append(lease)
        issuers["pg"].down = True
        for i, task in enumerate(waiting):
            w.clock.advance(1)
            await end_task(w.env, w.call(CallerKind.OPERATOR, "op"), task.id, "stop")
            if i % 50 == 49:
                await asyncio.gather(*(end_leases(w.env, w.clock.now, lanes=one) for one in lanes))
                await asyncio.gather(*(one.finish() for one in lanes))
        began = w.clock.now
        while w.clock.now < began + 3_600_000:
            w.clock.advance(120_000)
            other = None
            if w.clock.now < began + 600_000:  # the proof lasts that long
                other, _ = await closed(w, call, "secret")
            for one in lanes:
                await end_leases(w.env, w.clock.now, lanes=one)
                await one.finish()
            if other:
                row = await w.store.get(Task, other.id)
                assert row.settled_at == w.clock.now, "a kill at another issuer waited for this one"
        assert len(await said(w, "IssuerDown")) == 1
        assert (await said(w, "IssuerDown"))[0]["waiting"] >= MANY and not (await said(w, "IssuerBack"))
        assert (await w.store.get(IssuerOutage, "pg")).over_at == 0
        assert len(await w.env.leases_in(LeaseState.ENDING)) == MANY and len(issuers["pg"].live) == MANY
        failed = len(await said(w, "LeaseKillFailed"))
        assert failed < 3 * MANY, "an outage does not fill the log"
        issuers["pg"].down = False
        w.clock.advance(10_000)
        await end_leases(w.env, w.clock.now, lanes=lanes[0])
        await lanes[0].finish()
        assert not issuers["pg"].live and not await w.env.leases_in(LeaseState.ENDING)
        order = issuers["pg"].order
        assert order[1:] == [lease.handle for lease in made if lease.handle != order[0]], "the probe, then oldest first"
        (back,) = await said(w, "IssuerBack")
        assert back["drained"] == MANY
        for _ in range(4):
            w.clock.advance(60_000)
            for one in lanes:
                await end_leases(w.env, w.clock.now, lanes=one)
                await one.finish()
        assert len(await said(w, "IssuerBack")) == 1
        assert all([(await w.store.get(Task, task.id)).settled_at for task in waiting])
        assert await replay(w.store) == []
        await w.store.close()

    run(main())


def test_an_issuer_that_hangs_holds_up_no_other(run, monkeypatch):
    monkeypatch.setattr(kill_leases, "KILL_TIMEOUT", 0.5)

    async def main():
        w, issuers = await two_issuers()
        _, call = await w.proved()
        issuers["pg"].kill_gate = asyncio.Event()
        lanes = Lanes()
        for _ in range(40):
            await closed(w, call, "db")
        await end_leases(w.env, w.clock.now, lanes=lanes)
        await issuers["pg"].killing.wait()
        started = time.perf_counter()
        await closed(w, call, "secret")
        await end_leases(w.env, w.clock.now, lanes=lanes)
        while issuers["box"].live:
            await asyncio.sleep(0.001)
        assert time.perf_counter() - started < 0.3
        assert len(issuers["pg"].live) == 40
        await lanes.finish()
        issuers["pg"].kill_gate = None
        w.clock.advance(20_000)
        await end_leases(w.env, w.clock.now, lanes=lanes)
        await lanes.finish()
        assert not issuers["pg"].live

    run(main())


def test_one_that_can_never_be_killed_blocks_no_other_of_its_issuer(run):
    async def main():
        w, issuers = await two_issuers()
        _, call = await w.proved()
        lanes, kill = Lanes(), issuers["pg"].kill
        stuck = {(await closed(w, call, "db"))[1].handle for _ in range(GIVE_UP + 4)}

        async def choosy(lease):
            if lease.handle in stuck:
                raise RuntimeError("depends on it: owner of table secret_payroll")
            await kill(lease)

        issuers["pg"].kill = choosy
        await end_leases(w.env, w.clock.now, lanes=lanes)
        await lanes.finish()
        good = [(await closed(w, call, "db"))[1] for _ in range(20)]
        for _ in range(120):
            w.clock.advance(10_000)
            await end_leases(w.env, w.clock.now, lanes=lanes)
            await lanes.finish()
        states = {(await w.store.get(Lease, lease.id)).state for lease in good}
        assert states == {LeaseState.ENDED} and issuers["pg"].live == stuck
        errors = {lease.last_error for lease in await w.env.leases_in(LeaseState.ENDING)}
        assert errors == {"RuntimeError"}, "an upstream's words stay out of rows and answers"
        assert not [leaf for leaf, _ in w.store._events if b"secret_payroll" in leaf]

    run(main())


def test_more_than_a_page_that_waits_hides_nothing_that_is_due_behind_it(run, monkeypatch):
    from remit.work import end_leases as module

    monkeypatch.setattr(module, "PAGE", 5)

    async def main():
        w, issuers = await two_issuers()
        _, call = await w.proved()
        for _ in range(30):
            await closed(w, call, "db")
        issuers["pg"].down = True
        open_task = await w.task(call)
        lease, _ = await issue(w.env, call, open_task.id, "secret")
        lanes = Lanes()
        await end_leases(w.env, w.clock.now, lanes=lanes)
        await lanes.finish()
        w.clock.now = lease.expires_at
        await end_leases(w.env, w.clock.now, lanes=lanes)
        await lanes.finish()
        assert (await w.store.get(Lease, lease.id)).state is LeaseState.ENDED

    run(main())


@pytest.mark.parametrize("failures", [1, 40])
def test_down_and_back_are_said_once_across_replicas_and_not_for_a_hiccup(run, failures):
    async def main():
        w, issuers = await two_issuers()
        _, call = await w.proved()
        lanes = [Lanes() for _ in range(3)]
        for _ in range(failures):
            await closed(w, call, "db")

        async def all_pass():
            await asyncio.gather(*(end_leases(w.env, w.clock.now, lanes=one) for one in lanes))
            await asyncio.gather(*(one.finish() for one in lanes))

        for outage in (1, 2):
            await closed(w, call, "db")
            issuers["pg"].down = True
            for second in range(0, 200, 5):
                await all_pass()
                if second < 60:
                    assert len(await said(w, "IssuerDown")) == outage - 1
                if second > 75:
                    assert len(await said(w, "IssuerDown")) == outage
                w.clock.advance(5_000)
            assert len(await said(w, "IssuerDown")) == outage
            issuers["pg"].down = False
            for _ in range(20):
                await all_pass()
                w.clock.advance(5_000)
            assert len(await said(w, "IssuerBack")) == outage and not issuers["pg"].live
        await closed(w, call, "db")
        issuers["pg"].faults = ["kill-before"]
        for _ in range(30):
            await all_pass()
            w.clock.advance(5_000)
        assert len(await said(w, "IssuerDown")) == 2

    run(main())


def test_what_each_credential_waits_for_is_in_sight(run):
    async def main():
        w, issuers = await two_issuers()
        _, call = await w.proved()
        task = await w.task(call)
        lease, _ = await issue(w.env, call, task.id, "db")
        await issue(w.env, call, task.id, "secret")

        async def waits():
            rows = await w.store.find(Lease, {"task": task.id})
            return {(one.issuer, one.waits, one.count, one.at, one.why) for one in alive(rows)}

        end = lease.expires_at
        assert await waits() == {("pg", Waits.OPEN, 1, end, ""), ("box", Waits.OPEN, 1, end, "")}
        await end_task(w.env, call, task.id, "done")
        issuers["pg"].down = True
        issuers["box"].recalls = False
        await end_leases(w.env, w.clock.now)
        retry = w.clock.now + 1_000
        assert await waits() == {
            ("pg", Waits.RETRY, 1, retry, "RMT-6002 The issuer did not answer."),
            ("box", Waits.ITSELF, 1, end, "Nobody can take this back."),
        }
        w.clock.advance(1_000)
        issuers["pg"].down = False
        await end_leases(w.env, w.clock.now)
        assert [one[0] for one in await waits()] == ["box"]
        w.clock.now = end
        await end_leases(w.env, w.clock.now)
        assert await waits() == set()

    run(main())


def test_a_lane_whose_store_does_not_answer_says_so_and_the_next_pass_goes_on(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        await issue(w.env, call, task.id, "db")
        await end_task(w.env, call, task.id, "done")
        w.issuer.down = True
        await end_leases(w.env, w.clock.now)
        w.issuer.down, get, told = False, w.store.get, []

        async def gone(kind, key):
            if kind is Lease:
                raise StoreUnavailable("The store did not answer.")
            return await get(kind, key)

        w.store.get = gone
        w.clock.advance(60_000)
        lanes = Lanes(told.append)
        await end_leases(w.env, w.clock.now, lanes=lanes)
        await lanes.finish()
        assert told[0].errors == ["lane of pg: RMT-6001 The store did not answer."]
        w.store.get = get
        await end_leases(w.env, w.clock.now, lanes=lanes)
        await lanes.finish()
        assert told[1].killed == 1 and not w.issuer.live

    run(main())
