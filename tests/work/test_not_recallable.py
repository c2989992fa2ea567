"""What nobody can take back stays in sight until it has died by itself (law 5)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain.errors import Denied
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task
from remit.verbs.issue import issue
from remit.verbs.revoke import end_task
from remit.work.end_leases import end_leases
from tests.world import world


def test_its_lease_ends_when_it_has_died_by_itself_and_not_before(run):
    async def main():
        w = await world()
        w.issuer.recalls = False
        _, call = await w.proved()
        task = await w.task(call)
        lease, _ = await issue(w.env, call, task.id, "db")
        await end_task(w.env, replace(call, now=w.clock.now), task.id, "done")
        done = await end_leases(w.env, w.clock.now)
        assert (done.failed, done.settled) == (0, 0)
        found = await w.store.get(Lease, lease.id)
        assert (found.state, found.retry_at, found.attempts) == (LeaseState.ENDING, lease.expires_at, 0)
        w.clock.now = lease.expires_at - 1
        await end_leases(w.env, w.clock.now)
        assert (await w.store.get(Lease, lease.id)).state is LeaseState.ENDING
        w.clock.now = lease.expires_at
        await end_leases(w.env, w.clock.now)
        assert (await w.store.get(Lease, lease.id)).state is LeaseState.ENDED
        assert (await w.store.get(Task, task.id)).settled_at and w.issuer.live == set()
        assert w.events().count("LeaseOutlives") == 1

    run(main())


def test_what_a_kill_needs_is_kept_even_when_the_task_ended_meanwhile(run):
    async def main():
        for how in ("live", "ended first", "taken already"):
            w = await world()
            _, call = await w.proved()
            task = await w.task(call)
            w.issuer.reference = "sealed"
            if how == "live":
                lease, _ = await issue(w.env, call, task.id, "db")
                assert (await w.store.get(Lease, lease.id)).reference == "sealed"
                continue
            w.issuer.mint_gate = asyncio.Event()
            minting = asyncio.create_task(issue(w.env, call, task.id, "db"))
            await w.issuer.minting.wait()
            await end_task(w.env, replace(call, now=w.clock.now), task.id, "done")
            if how == "taken already":
                await end_leases(w.env, w.clock.now)  # killed early: the reconciler has it, and knows no reference
            w.issuer.mint_gate.set()
            with pytest.raises(Denied):
                await minting
            (found,) = await w.store.find(Lease, {"task": task.id})
            assert (found.state, found.reference) == (LeaseState.ENDING, "sealed")

    run(main())
