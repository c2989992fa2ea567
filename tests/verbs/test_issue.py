"""Issue, and the reconciler that ends what was issued: law 4 and law 5 under faults, crashes and races."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain import events
from remit.domain.caller import CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, Busy, Denied, IssuerUnavailable, Refusal, StoreUnavailable
from remit.domain.freeze import Reach
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.store.memory import MemoryStore
from remit.testing.store import FaultyStore
from remit.verbs.apply import apply
from remit.verbs.freeze import freeze, unfreeze
from remit.verbs.issue import MINT_WINDOW, ROUNDS, issue
from remit.verbs.revoke import end_lease, end_task
from remit.work.end_leases import end_leases
from tests.world import changed, world


async def leases(w):
    return await w.store.find(Lease, {}, limit=1000)


async def no_orphans(w):
    """Law 5: every live credential has a lease that is not ENDED."""
    held = {row.handle for row in await leases(w) if row.state is not LeaseState.ENDED}
    assert w.issuer.live <= held, f"orphans: {w.issuer.live - held}"


def test_a_credential_is_minted_after_its_lease_and_dies_with_its_task(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        lease, minted = await issue(w.env, call, task.id, "db")
        assert lease.state is LeaseState.LIVE and w.issuer.live == {lease.handle}
        assert minted.parts["user"] == lease.handle
        assert lease.grants == {"who": "acme", "deep": [{"a": "acme", "n": 1, "plain": "x", "odd": "{x}"}]}
        assert lease.expires_at == call.now + 600_000
        assert w.events()[-2:] == ["LeaseReserved", "LeaseMinted"]
        await end_task(w.env, call, task.id, "done")
        done = await end_leases(w.env, w.clock.now)
        assert (done.killed, done.failed, done.settled, w.issuer.live) == (1, 0, 1, set())
        assert (await w.store.get(Task, task.id)).settled_at == w.clock.now
        assert (await end_leases(w.env, w.clock.now)).idle

    run(main())


@pytest.mark.parametrize(
    ("credential", "reason"),
    [("nothing", "credential_unknown"), ("secret", "out_of_scope"), ("shown", "policy_forbids")],
)
def test_a_credential_that_is_refused(run, credential, reason):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        with pytest.raises(Denied) as denied:
            await issue(w.env, call, task.id, credential)
        assert denied.value.reasons == (reason,)
        assert w.events()[-1] == "IssueDenied" and not w.issuer.ever

    run(main())


def test_nothing_is_issued_without_an_open_task_of_an_active_agent(run):
    async def main():
        w = await world()
        identity, call = await w.proved()
        _, stranger = await w.proved("other")
        task, closed = await w.task(call), await w.task(call)
        for caller, which in ((stranger, task.id), (call, "tsk_nothing")):
            with pytest.raises(Absent):
                await issue(w.env, caller, which, "db")
        operator = w.call(CallerKind.OPERATOR, "op")
        await end_task(w.env, call, closed.id, "done")

        async def refused(reason, which=task.id, at=call):
            with pytest.raises(Denied) as denied:
                await issue(w.env, at, which, "db")
            assert denied.value.reasons == (reason,)

        await refused("task_not_open", closed.id)
        await refused("task_not_open", at=replace(call, now=task.deadline))
        await refused("identity_stale", at=replace(call, now=identity.expires_at))
        await freeze(w.env, operator, Reach.AGENT, "bot", "stop")
        await refused("agent_frozen")
        await unfreeze(w.env, operator, Reach.AGENT, "bot", "go")
        assert (await issue(w.env, call, task.id, "db"))[0].state is LeaseState.LIVE
        files = changed()
        files["purposes/pay.toml"] = files["purposes/pay.toml"].replace("max_calls = 5", "max_calls = 6")
        await apply(w.env, operator, files)
        await refused("purpose_superseded")
        gone = {n: t.replace('"bot"', '"other"') for n, t in files.items() if n != "agents/bot.toml"}
        await apply(w.env, operator, gone)
        await refused("agent_unknown")

    run(main())


def test_revoking_while_a_mint_is_in_flight_leaves_nothing(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        w.issuer.mint_gate = asyncio.Event()
        minting = asyncio.ensure_future(issue(w.env, call, task.id, "db"))
        await w.issuer.minting.wait()
        await end_task(w.env, w.call(CallerKind.OPERATOR, "op"), task.id, "stop")
        first = await end_leases(w.env, w.clock.now)
        (row,) = await leases(w)
        assert first.settled == 0 and row.state is LeaseState.ENDING  # killed, but a mint may still land
        w.issuer.mint_gate.set()
        with pytest.raises(Denied):
            await minting
        assert w.issuer.live  # it did land
        await no_orphans(w)
        assert row.retry_at == row.mint_until
        w.clock.advance(MINT_WINDOW)
        done = await end_leases(w.env, w.clock.now)
        assert (done.killed, done.settled, w.issuer.live) == (1, 1, set())

    run(main())


def test_a_mint_that_lands_after_a_clock_ahead_ended_its_lease_is_killed_at_once(run):
    async def main():
        w = await world()
        ahead = replace(w.env, clock=lambda: w.clock.now + MINT_WINDOW)
        for faults in ([], ["kill-before"]):
            _, call = await w.proved()
            task = await w.task(call)
            w.issuer.mint_gate, w.issuer.minting = asyncio.Event(), asyncio.Event()
            minting = asyncio.ensure_future(issue(w.env, call, task.id, "db"))
            await w.issuer.minting.wait()
            await end_task(w.env, w.call(CallerKind.OPERATOR, "op"), task.id, "stop")
            await end_leases(ahead, ahead.clock())
            assert {row.state for row in await leases(w)} == {LeaseState.ENDED}
            w.issuer.faults = list(faults)
            w.issuer.mint_gate.set()
            with pytest.raises(Denied):
                await minting
            assert bool(w.issuer.live) == bool(faults)  # what could not be killed dies at its own end

    run(main())


def test_a_mint_that_never_answers_is_given_up_and_killed_when_its_window_closes(run, monkeypatch):
    async def main():
        monkeypatch.setattr("remit.verbs.issue.MINT_WINDOW", 50)
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        w.issuer.mint_gate = asyncio.Event()
        with pytest.raises(IssuerUnavailable):
            await issue(w.env, call, task.id, "db")
        (row,) = await leases(w)
        assert row.state is LeaseState.ENDING
        w.clock.advance(50)
        assert (await end_leases(w.env, w.clock.now)).killed == 1

    run(main())


@pytest.mark.parametrize("fault", ["mint-before", "mint-after"])
def test_a_mint_that_fails_is_ended_like_any_other(run, fault):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        w.issuer.faults = [fault]
        with pytest.raises(IssuerUnavailable):
            await issue(w.env, call, task.id, "db")
        await no_orphans(w)
        assert bool(w.issuer.live) == (fault == "mint-after")
        w.clock.advance(MINT_WINDOW)
        await end_leases(w.env, w.clock.now)
        (row,) = await leases(w)
        assert row.state is LeaseState.ENDED and not w.issuer.live

    run(main())


def test_a_kill_that_fails_is_visible_counted_and_never_dropped(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        await issue(w.env, call, task.id, "db")
        await end_task(w.env, call, task.id, "done")
        w.issuer.down = True
        for attempt in range(1, 9):
            done = await end_leases(w.env, w.clock.now)
            assert (done.failed, done.killed) == (1, 0) and "RMT-6002" in done.errors[0]
            (row,) = await leases(w)
            assert (row.attempts, row.state) == (attempt, LeaseState.ENDING)
            assert (await end_leases(w.env, w.clock.now)).failed == 0  # not before its time
            w.clock.now = row.retry_at
        w.issuer.down = False
        done = await end_leases(w.env, w.clock.now)
        assert (done.killed, done.settled, w.issuer.live) == (1, 1, set())

    run(main())


def test_what_cannot_be_killed_does_not_stand_in_the_way_of_what_can(run):
    """An issuer is down and more tasks wait for it than one pass takes; a task revoked now is still marked at once."""

    async def main():
        w = await world()
        _, call = await w.proved()
        w.issuer.down = False
        for _ in range(510):
            task = await w.task(call)
            await issue(w.env, call, task.id, "db")
            await end_task(w.env, call, task.id, "done")
        w.issuer.down = True
        w.clock.advance(1)
        for _ in range(3):
            await end_leases(w.env, w.clock.now)
        w.issuer.down = False
        fresh = await w.task(call)
        await issue(w.env, replace(call, now=w.clock.now), fresh.id, "db")
        w.issuer.down = True
        await end_task(w.env, w.call(CallerKind.OPERATOR, "op"), fresh.id, "stop")
        await end_leases(w.env, w.clock.now)
        assert (await w.store.find(Lease, {"task": fresh.id}))[0].state is LeaseState.ENDING
        w.issuer.down = False
        for _ in range(8):
            w.clock.advance(60_000)
            await end_leases(w.env, w.clock.now)
        assert not w.issuer.live
        assert all(task.settled_at for task in await w.store.find(Task, {"state": "closed"}, limit=1000))

    run(main())


def test_a_lease_whose_issuer_is_no_longer_configured_waits_for_it(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        await issue(w.env, call, task.id, "db")
        await end_task(w.env, call, task.id, "done")
        files = changed()
        files["remit.toml"] = files["remit.toml"].replace("[issuers.pg]", "[issuers.pg2]")
        files["purposes/pay.toml"] = files["purposes/pay.toml"].replace('issuer = "pg"', 'issuer = "pg2"')
        operator = w.call(CallerKind.OPERATOR, "op")
        await apply(w.env, operator, files)
        done = await end_leases(w.env, w.clock.now)
        assert "no longer configured" in done.errors[0]
        await apply(w.env, operator, changed())
        w.clock.advance(5_000)
        assert (await end_leases(w.env, w.clock.now)).killed == 1

    run(main())


def test_what_expires_is_ended_without_anybody_asking(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        await issue(w.env, call, task.id, "db")
        w.clock.advance(600_000)
        assert (await end_leases(w.env, w.clock.now)).killed == 1
        assert (await w.store.get(Task, task.id)).state is TaskState.OPEN
        w.clock.advance(300_000)
        done = await end_leases(w.env, w.clock.now)
        assert (done.expired, done.settled) == (1, 1)
        assert (await w.store.get(Task, task.id)).state is TaskState.EXPIRED

    run(main())


def test_an_approval_nobody_answered_is_closed(run):
    async def main():
        from remit.domain.approval import Approval, ApprovalState
        from remit.domain.decision import Access
        from remit.verbs.decide import decide

        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        held = await decide(w.env, call, Access(task.id, "pay", {"customer": "acme", "invoice": 1, "amount": "1"}))
        w.clock.advance(600_000)
        await end_leases(w.env, w.clock.now)
        assert (await w.store.get(Approval, held.approval)).state is ApprovalState.EXPIRED

    run(main())


def test_nobody_is_asked_about_a_task_that_is_over(run):
    async def main():
        from remit.domain.approval import Approval, ApprovalState
        from remit.domain.decision import Access
        from remit.verbs.approve import Given, answer
        from remit.verbs.decide import decide

        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        asked = [{"customer": "acme", "invoice": n, "amount": "1"} for n in (1, 2)]
        held = [(await decide(w.env, call, Access(task.id, "pay", a))).approval for a in asked]
        digest = (await w.store.get(Approval, held[1])).digest
        await answer(w.env, w.person("frank"), held[1], Given(digest, True))
        await end_task(w.env, call, task.id, "done")
        await end_leases(w.env, w.clock.now)
        assert {(await w.store.get(Approval, one)).state for one in held} == {ApprovalState.EXPIRED}

    run(main())


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("fault", ["lost", "persisted"])
def test_a_store_that_fails_anywhere_in_an_issue_leaves_no_orphan(run, at, fault):
    async def main():
        store = FaultyStore(MemoryStore())
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        store.faults = [""] * at + [fault]
        with suppress(Refusal):
            await issue(w.env, call, task.id, "db")
        await no_orphans(w)
        store.faults = []
        await end_task(w.env, call, task.id, "done")
        for _ in range(3):
            await end_leases(w.env, w.clock.now)
            w.clock.advance(MINT_WINDOW)
        assert not w.issuer.live
        assert all(row.state is LeaseState.ENDED for row in await leases(w))

    run(main())


def test_an_unreachable_store_lets_no_secret_out(run):
    async def main():
        store = FaultyStore(MemoryStore())
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        store.faults = ["lost"]
        with pytest.raises(StoreUnavailable):
            await issue(w.env, call, task.id, "db")
        assert not w.issuer.ever

    run(main())


class Stubborn(MemoryStore):
    """Compare-and-swap loses whenever a lease is written."""

    lose = False

    async def commit(self, change):
        from remit.domain.errors import Conflict

        if self.lose and any(isinstance(put.row, Lease) for put in change.puts):
            raise Conflict("lost")
        return await super().commit(change)


def test_losing_for_ever_is_busy(run):
    async def main():
        store = Stubborn()
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        store.lose = True
        with pytest.raises(Busy):
            await issue(w.env, call, task.id, "db")
        assert not w.issuer.ever

    run(main())


def test_an_agent_ends_one_lease_and_no_other(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        _, stranger = await w.proved("bot")
        task = await w.task(call)
        lease, _ = await issue(w.env, call, task.id, "db")
        kept, _ = await issue(w.env, call, task.id, "db")
        for caller, which in ((stranger, lease.id), (call, "lse_nothing")):
            with pytest.raises(Absent):
                await end_lease(w.env, caller, which, "x")
        ended = await asyncio.gather(*(end_lease(w.env, call, lease.id, "x") for _ in range(3)))
        assert {row.state for row in ended} == {LeaseState.ENDING}
        await end_leases(w.env, w.clock.now)
        assert w.issuer.live == {kept.handle}

    run(main())


def test_ending_a_lease_that_keeps_changing_is_busy(run):
    async def main():
        store = Stubborn()
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        lease, _ = await issue(w.env, call, task.id, "db")
        store.lose = True
        with pytest.raises(Busy):
            await end_lease(w.env, call, lease.id, "x")

    run(main())


class Moving(MemoryStore):
    """The task moves between the settling's reads and its commit: `moves` times."""

    moves = 0
    marked = False

    async def commit(self, change):
        if isinstance(change.because, events.LeaseMinted) and self.marked:
            lease = await self.get(Lease, change.because.lease)
            ending = events.LeaseEnding(lease.id, lease.task, "expired")
            await super().commit(Change(ending, change.call).put(lease.ending(1, "expired"), was=lease))
        if isinstance(change.because, events.LeaseMinted) and self.moves:
            self.moves -= 1
            task = await self.get(Task, change.because.task)
            settled = events.TaskSettled(task.id, 0)
            await super().commit(Change(settled, change.call).put(task, was=task))
        return await super().commit(change)


@pytest.mark.parametrize(("moves", "live"), [(3, True), (ROUNDS + 5, False)])
def test_settling_looks_again_when_the_task_moved(run, moves, live):
    async def main():
        store = Moving()
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        store.moves = moves
        if live:
            assert (await issue(w.env, call, task.id, "db"))[0].state is LeaseState.LIVE
        else:
            with pytest.raises(Denied):
                await issue(w.env, call, task.id, "db")
            assert (await leases(w))[0].state is LeaseState.ENDING
        await no_orphans(w)

    run(main())


def test_a_lease_marked_while_it_was_minted_never_lives(run):
    async def main():
        store = Moving()
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        store.marked = True
        with pytest.raises(Denied):
            await issue(w.env, call, task.id, "db")
        assert (await leases(w))[0].state is LeaseState.ENDING
        await no_orphans(w)

    run(main())


def test_a_lease_that_somebody_else_is_ending_is_left_to_them(run):
    """The reconciler marks the lease between this mint's failure and its own marking."""

    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        get = w.store.get

        async def raced(kind, key):
            row = await get(kind, key)
            if kind is Lease and row is not None and row.state is LeaseState.RESERVED:
                w.store.get = get
                w.clock.advance(MINT_WINDOW)
                await end_leases(w.env, w.clock.now)
            return row

        w.issuer.faults = ["mint-before"]
        w.store.get = raced
        with pytest.raises(IssuerUnavailable):
            await issue(w.env, call, task.id, "db")
        (row,) = await leases(w)
        assert row.state is LeaseState.ENDED

    run(main())


def test_a_task_that_keeps_moving_does_not_lose_its_credential(run):
    """The settling commit loses to a decision of the same task and looks again."""

    async def main():
        from remit.domain.decision import Access, Permit
        from remit.verbs.decide import decide

        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        w.issuer.mint_gate = asyncio.Event()
        minting = asyncio.ensure_future(issue(w.env, call, task.id, "db"))
        await w.issuer.minting.wait()
        assert isinstance(await decide(w.env, call, Access(task.id, "list", {"customer": "acme"})), Permit)
        w.issuer.mint_gate.set()
        lease, _ = await minting
        assert lease.state is LeaseState.LIVE

    run(main())


STEPS = ("issue", "release", "pass", "tick", "long", "end", "revoke", "freeze", "fault", "crash")


async def steps(data, w, store, call, tasks, flying):
    """Whatever may happen, in any order."""
    for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=4, max_size=24)):
        at = replace(call, now=w.clock.now)
        match step:
            case "issue":
                gate = asyncio.Event()
                if data.draw(st.booleans()):
                    gate.set()
                w.issuer.mint_gate = gate
                which = data.draw(st.sampled_from(tasks)).id
                flying.append((gate, asyncio.ensure_future(issue(w.env, at, which, "db"))))
            case "release":
                for held, _ in flying[-1:]:
                    held.set()
            case "pass":
                await tolerate(end_leases(w.env, w.clock.now))
            case "tick":
                w.clock.advance(5_000)
            case "long":
                w.clock.advance(MINT_WINDOW)
            case "end":
                await tolerate(end_task(w.env, at, data.draw(st.sampled_from(tasks)).id, "done"))
            case "revoke":
                operator = w.call(CallerKind.OPERATOR, "op")
                await tolerate(end_task(w.env, operator, data.draw(st.sampled_from(tasks)).id, "stop"))
            case "freeze":
                await tolerate(freeze(w.env, w.call(CallerKind.OPERATOR, "op"), Reach.AGENT, "bot", "x"))
            case "fault":
                w.issuer.faults.append(
                    data.draw(st.sampled_from(["mint-before", "mint-after", "kill-before", "kill-after"]))
                )
                store.faults = data.draw(st.lists(st.sampled_from(["", "", "lost", "persisted"]), max_size=3))
            case "crash":  # everything in flight in this process is gone; the store and the issuer are not
                for _, task in flying:
                    task.cancel()
                await asyncio.gather(*(task for _, task in flying), return_exceptions=True)
                flying.clear()
        for _ in range(5):
            await asyncio.sleep(0)
        await no_orphans(w)


@settings(max_examples=60)
@given(st.data())
def test_no_orphans_whatever_happens_in_whatever_order(data):
    law_5(data)


def law_5(data):
    """The stateful machine of law 5: mints in flight, revocations, faults on both sides of every call, crashes."""

    async def main():
        store = FaultyStore(MemoryStore())
        w = await world(store)
        _, call = await w.proved()
        tasks = [await w.task(call) for _ in range(2)]
        flying = []
        try:
            await steps(data, w, store, call, tasks, flying)
        finally:  # what is in flight lands, whatever was found
            for held, _ in flying:
                held.set()
            await asyncio.gather(*(task for _, task in flying), return_exceptions=True)
        await no_orphans(w)
        store.faults, w.issuer.faults = [], []
        for task in tasks:
            await end_task(w.env, w.call(CallerKind.OPERATOR, "op"), task.id, "end")
        for _ in range(12):
            await end_leases(w.env, w.clock.now)
            await no_orphans(w)
            w.clock.advance(60_000)
        assert not w.issuer.live
        assert all(row.state is LeaseState.ENDED for row in await leases(w))
        for task in tasks:
            assert (await w.store.get(Task, task.id)).settled_at

    asyncio.run(main())


async def tolerate(step):
    with suppress(Refusal):
        await step


def test_the_machine_sees_an_orphan_when_one_is_planted(run):
    """The control: a lease ended without its kill is found."""

    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        await issue(w.env, call, task.id, "db")
        w.issuer.kill = lambda lease: asyncio.sleep(0)
        await end_task(w.env, call, task.id, "done")
        await end_leases(w.env, w.clock.now)
        with pytest.raises(AssertionError, match="orphans"):
            await no_orphans(w)

    run(main())
