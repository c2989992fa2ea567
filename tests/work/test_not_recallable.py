"""What nobody can take back stays in sight until it has died by itself (law 5)."""

from __future__ import annotations

from dataclasses import replace

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
