"""Ending one credential: who may, and what it leaves as it was."""

from __future__ import annotations

import asyncio

import pytest

from remit.domain.caller import CallerKind
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.errors import Absent, Busy, Conflict, Denied
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.store.memory import MemoryStore
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from remit.verbs.revoke import end_lease, end_task
from remit.work.end_leases import end_leases
from tests.world import changed, world

OWNED = changed(agents__bot_dot_toml='owner = "gina"\n[[attestations]]\nmethod = "join_token"\n')


async def leased(store=None):
    """A live credential of a task that dana began, of gina's agent, under olga's purpose."""
    w = await world(store, OWNED)
    _, call = await w.proved()
    dana = Principal(PrincipalKind.PERSON, "dana")
    task = await propose(w.env, call, Proposal("pay", "goal", {"customer": "acme"}), dana)
    lease, _ = await issue(w.env, call, task.id, "db")
    return w, call, task, lease


def who(w, call):
    """Everybody, and whether they may."""
    other = w.call(name="bot", jkt="another key")
    return [
        *((one, True) for one in (call, w.person("dana"), w.person("gina"), w.person("olga"))),
        *((w.call(kind, "x"), True) for kind in (CallerKind.OPERATOR, CallerKind.SYSTEM)),
        *((w.call(kind, "x"), False) for kind in (CallerKind.AUDITOR, CallerKind.ENFORCER, CallerKind.ANYONE)),
        *((one, False) for one in (other, w.call(name="other", jkt=call.caller.jkt), w.person("frank"))),
    ]


@pytest.mark.parametrize("n", range(12))
def test_whoever_may_end_the_task_may_end_what_it_holds_and_nobody_else(run, n):
    async def main():
        w, call, task, lease = await leased()
        caller, may = who(w, call)[n]
        if not may:
            with pytest.raises(Absent) as hidden:
                await end_lease(w.env, caller, lease.id, "x")
            with pytest.raises(Absent) as absent:
                await end_lease(w.env, caller, "lse_nothing", "x")
            assert str(hidden.value) == str(absent.value)
            assert (await w.store.get(Lease, lease.id)).state is LeaseState.LIVE
            return
        nudged = len(w.nudges)
        ending = await end_lease(w.env, caller, lease.id, "leaked" + "!" * 600)
        assert (ending.state, ending.end_reason, len(w.nudges)) == (
            LeaseState.ENDING,
            ("leaked" + "!" * 600)[:500],
            nudged + 1,
        )
        assert w.events()[-1] == "LeaseEnding"
        assert (await w.store.get(Task, task.id)).state is TaskState.OPEN
        again = await end_lease(w.env, caller, lease.id, "twice")
        assert (again.end_reason, w.events().count("LeaseEnding")) == (ending.end_reason, 1)

    run(main())


class Losing(MemoryStore):
    """Loses every commit of a lease, once told to."""

    losing = False

    async def commit(self, change):
        if self.losing and any(isinstance(put.row, Lease) for put in change.puts):
            raise Conflict("lost")
        return await super().commit(change)


def test_losing_for_ever_says_busy(run):
    async def main():
        w, call, _, lease = await leased(Losing())
        w.store.losing = True
        with pytest.raises(Busy):
            await end_lease(w.env, call, lease.id, "")

    run(main())


def test_a_kill_whose_answer_is_slow_does_not_end_what_was_minted_meanwhile(run):
    """Killed while the mint is in flight, which lands before its window closes; the answer comes after that (law 5)."""

    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        w.issuer.mint_gate = asyncio.Event()
        minting = asyncio.create_task(issue(w.env, call, task.id, "db"))
        await w.issuer.minting.wait()
        await end_task(w.env, call, task.id, "stop")
        kill = w.issuer.kill

        async def slow(lease):
            await kill(lease)
            w.issuer.mint_gate.set()
            with pytest.raises(Denied):
                await minting
            w.clock.advance(31_000)

        w.issuer.kill = slow
        await end_leases(w.env, w.clock.now)
        w.issuer.kill = kill
        (lease,) = await w.store.find(Lease, {})
        assert w.issuer.live and lease.state is LeaseState.ENDING
        await end_leases(w.env, w.clock.now)
        (lease,) = await w.store.find(Lease, {})
        assert not w.issuer.live and lease.state is LeaseState.ENDED

    run(main())
