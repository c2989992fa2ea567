"""Open tasks are decided again when what they were permitted in changes, and those not permitted today are ended."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import psycopg
import pytest

from remit.domain import events
from remit.domain.caller import CallerKind
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.change import Change
from remit.domain.decision import Access, Deny, Permit
from remit.domain.errors import Conflict, StoreUnavailable
from remit.domain.identity import Identity
from remit.domain.lease import Lease, LeaseState
from remit.domain.redecision import Redecision
from remit.domain.task import Task, TaskState
from remit.govern.redecided import left
from remit.store.memory import MemoryStore
from remit.store.postgres import PostgresStore
from remit.store.replay import replay
from remit.verbs.apply import apply, plan
from remit.verbs.decide import decide
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from remit.work import redecide as work
from remit.work.end_leases import end_leases
from tests.world import EVER, FILES, changed, world

LIST = {"customer": "acme"}
NOW_DENIED = (
    EVER + '@id("p-17") forbid (principal, action == Remit::Action::"propose", resource == Remit::Purpose::"pay");'
)
NOW_HELD = (
    EVER
    + """@id("ask") @approvers("finance")
forbid (principal, action == Remit::Action::"propose", resource) unless { context.approved };"""
)


def operator(w):
    return w.call(CallerKind.OPERATOR, "op")


async def put(w, **files):
    """Another catalogue in force, and everything decided again."""
    _, planned = await apply(w.env, operator(w), changed(**files))
    await settle(w)
    return planned


async def settle(w):
    while await work.redecide(w.env, w.clock.now):
        pass
    while not (await end_leases(w.env, w.clock.now)).idle:
        pass


async def state(w, task):
    row = await w.store.get(Task, task.id)
    return row.state, row.end_reason


def judged_again(w):
    inner = getattr(w.store, "inner", w.store)
    leaves = [json.loads(leaf) for leaf, _ in inner._events]
    return [leaf["data"] for leaf in leaves if leaf["type"] == "RedecisionReached"]


OTHER = "tools__new_dot_toml"
CASES = {
    "a policy": ({"policies__default_dot_cedar": NOW_DENIED}, "catalogue 2: Policy p-17 forbids pay. (policy p-17)"),
    "a policy that would hold it": ({"policies__default_dot_cedar": NOW_HELD}, "finance must agree. (policy ask) A proposal cannot wait"),
    "its purpose": ({"purposes__pay_dot_toml": FILES["purposes/pay.toml"].replace("max_calls = 5", "max_calls = 4")}, ": max_calls."),
    "its purpose, wider": ({"purposes__pay_dot_toml": FILES["purposes/pay.toml"].replace("max_calls = 5", "max_calls = 9")}, "changed from revision"),
    "its agent's rule": ({"agents__bot_dot_toml": 'owner = "olga"\n[[attestations]]\nmethod = "unix"\nselectors = ["unix:uid:7"]\n'}, "The rule that this identity was proved by"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_would_not_be_permitted_today_ends_and_says_why(run, case):
    files, said = CASES[case]

    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        lease, _ = await issue(w.env, call, task.id, "db")
        expected = await plan(w.env, changed(**files), w.clock.now)
        ((planned, why),) = expected.ends.some
        assert (planned, expected.ends.count, expected.ends.more) == (task.id, 1, False)
        assert said.removeprefix("catalogue 2: ") in why
        assert (await state(w, task))[0] is TaskState.OPEN
        await put(w, **files)
        ended, reason = await state(w, task)
        assert ended is TaskState.REVOKED and said in reason, reason
        assert (await w.store.get(Lease, lease.id)).state is LeaseState.ENDED and not w.issuer.live
        (row,) = judged_again(w)
        assert (row["looked_at"], row["ended"]) == (1, 1)
        assert not await replay(w.store)

    run(main())


def test_a_purpose_that_is_gone_ends_its_tasks(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        _, planned = await apply(w.env, operator(w), {n: t for n, t in FILES.items() if n != "purposes/pay.toml"})
        assert planned.ends.count == 1
        await settle(w)
        assert (await state(w, task))[1] == "catalogue 2: There is no purpose pay any more."

    run(main())


def test_a_plan_looks_at_so_many_and_says_that_there_are_more(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        for _ in range(25):
            await w.task(call)
        files = changed(policies__default_dot_cedar=NOW_DENIED)
        ends = (await plan(w.env, files, w.clock.now, limit=3)).ends
        assert (ends.count, ends.looked_at, ends.more, len(ends.some)) == (3, 3, True, 3)
        ends = (await plan(w.env, files, w.clock.now)).ends
        assert (ends.count, ends.looked_at, ends.more, len(ends.some)) == (25, 25, False, 20)
        asked = changed(purposes__pay_dot_toml=FILES["purposes/pay.toml"] + "\n", agents__bot_dot_toml="title = 'x'\n" + FILES["agents/bot.toml"])  # fmt: skip
        assert (await plan(w.env, asked, w.clock.now)).ends.looked_at == 25

    run(main())


def test_what_would_be_permitted_goes_on_and_nothing_is_said_of_it(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        planned = await put(w, policies__default_dot_cedar=EVER)
        assert (planned.ends.count, planned.ends.looked_at) == (0, 1)
        assert (await state(w, task))[0] is TaskState.OPEN
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
        assert [(one["looked_at"], one["ended"]) for one in judged_again(w)] == [(1, 0)]
        assert w.events().count("TaskEnded") == 0

    run(main())


class Counting(MemoryStore):
    """Counts the tasks that are read."""

    read = 0

    async def find(self, kind, where, *, after="", limit=100):
        found = await super().find(kind, where, after=after, limit=limit)
        self.read += len(found) * (kind is Task)
        return found


def test_of_what_a_change_does_not_concern_nothing_is_read(run):
    async def main():
        store = Counting()
        w = await world(store)
        _, call = await w.proved()
        for _ in range(20):
            await w.task(call)
        store.read = 0
        asked = FILES["purposes/asked.toml"].replace("max_calls = 5", "max_calls = 4")
        other = 'title = "x"\n' + FILES["agents/other.toml"]
        await put(
            w, purposes__asked_dot_toml=asked, agents__other_dot_toml=other, tools__new_dot_toml='effect = "read"\n'
        )
        assert store.read == 0 and len(judged_again(w)) == 1
        await put(w, purposes__asked_dot_toml=asked, tools__new_dot_toml='effect = "write"\n')
        assert store.read == 0

    run(main())


def test_whose_initiator_may_begin_it_no_more(run):
    """Dana leaves the group that may ask for it; her tasks end, and those of somebody else go on."""

    async def main():
        files = {**FILES, "remit.toml": FILES["remit.toml"].replace("[people.frank]\n", "[people.erin]\ngroups = [\"billing\"]\n[people.frank]\n")}  # fmt: skip
        w = await world(files=files)
        _, call = await w.proved()
        tasks = {}
        for who in ("dana", "erin"):
            asked = Proposal("asked", "goal", {})
            tasks[who] = await propose(w.env, call, asked, Principal(PrincipalKind.PERSON, who))
        text = files["remit.toml"].replace('[people.dana]\ngroups = ["billing"]', "[people.dana]")
        await put(w, remit_dot_toml=text)
        assert (await state(w, tasks["dana"]))[1] == "catalogue 2: Only billing may begin asked."
        assert (await state(w, tasks["erin"]))[0] is TaskState.OPEN

    run(main())


@pytest.mark.parametrize("proof", ["fresh", "old"])
def test_a_credential_that_would_not_be_issued_today_ends_and_its_task_goes_on(run, proof):
    """Even while its proof of identity is too old for anything new: that hides no policy."""

    async def main():
        w = await world()
        identity, call = await w.proved()
        task = await w.task(call)
        lease, _ = await issue(w.env, call, task.id, "db")
        if proof == "old":
            w.clock.advance(1000)
            row = await w.store.get(Identity, identity.jkt)
            because = events.IdentitySuperseded(row.agent, row.jkt, "", "")
            await w.store.commit(Change(because, call).put(row.superseded(w.clock.now), was=row))
        rule = '@id("no-db") forbid (principal, action == Remit::Action::"issue", resource == Remit::Credential::"db");'
        await put(w, policies__default_dot_cedar=EVER + rule)
        row = await w.store.get(Lease, lease.id)
        assert row.state is LeaseState.ENDED and row.end_reason.startswith("catalogue 2: Policy no-db forbids db.")
        assert (await state(w, task))[0] is TaskState.OPEN

    run(main())


def test_a_proof_that_is_merely_old_ends_nothing(run):
    async def main():
        w = await world()
        identity, call = await w.proved()
        task = await w.task(call)
        row = await w.store.get(Identity, identity.jkt)
        w.clock.advance(1000)
        call = replace(call, now=w.clock.now)
        because = events.IdentitySuperseded(row.agent, row.jkt, "", "")
        await w.store.commit(Change(because, call).put(row.superseded(call.now), was=row))
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Deny)
        await put(w, policies__default_dot_cedar=EVER)
        assert (await state(w, task))[0] is TaskState.OPEN

    run(main())


def test_ended_tasks_stay_ended_when_the_change_is_taken_back(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        await put(w, policies__default_dot_cedar=NOW_DENIED)
        await put(w)
        assert (await state(w, task))[0] is TaskState.REVOKED
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Deny)
        assert (await state(w, await w.task(call)))[0] is TaskState.OPEN

    run(main())


# --- races and crashes ---


class Meddling(MemoryStore):
    """Does something just before the commit of one kind of event."""

    before, meddle = "", None

    async def commit(self, change):
        meddle = self.meddle
        if meddle is not None and type(change.because).__name__ == self.before:
            self.meddle = None
            await meddle()
        return await super().commit(change)


def test_a_permit_that_races_with_the_end_is_committed_before_it_or_not_at_all(run):
    """Law 6: the end lands after the decision has read everything, and before it commits."""

    async def main():
        store = Meddling()
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        await apply(w.env, operator(w), changed(policies__default_dot_cedar=NOW_DENIED))
        store.before, store.meddle = "AccessDecided", lambda: settle(w)
        denied = await decide(w.env, call, Access(task.id, "list", LIST))
        assert isinstance(denied, Deny) and denied.why[0].reason.value == "task_not_open"
        assert (await w.store.get(Task, task.id)).calls == 0

    run(main())


def test_a_call_between_the_look_and_the_end_does_not_save_it(run):
    async def main():
        store = Meddling()
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        await apply(w.env, operator(w), changed(policies__default_dot_cedar=NOW_DENIED))
        store.before, store.meddle = "TaskEnded", lambda: decide(w.env, call, Access(task.id, "list", LIST))
        await settle(w)
        row = await w.store.get(Task, task.id)
        assert (row.calls, row.state) == (1, TaskState.REVOKED)

    run(main())


def test_a_catalogue_applied_between_the_look_and_the_end_is_what_counts(run):
    """It was to end under the second catalogue, and the third permits it again before that is durable."""

    async def main():
        store = Meddling()
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        await apply(w.env, operator(w), changed(policies__default_dot_cedar=NOW_DENIED))
        store.before, store.meddle = "TaskEnded", lambda: apply(w.env, operator(w), FILES)
        await settle(w)
        assert (await state(w, task))[0] is TaskState.OPEN and len(judged_again(w)) == 2

    run(main())


def test_a_proposal_that_races_with_the_change_is_judged_under_it(run):
    async def main():
        store = Meddling()
        w = await world(store)
        _, call = await w.proved()
        files = changed(policies__default_dot_cedar=NOW_DENIED)
        store.before, store.meddle = "TaskProposed", lambda: apply(w.env, operator(w), files)
        with pytest.raises(Conflict):
            await w.task(call)
        await settle(w)
        assert not await w.store.find(Task, {"state": "open"})

    run(main())


def test_two_replicas_and_a_crash_in_the_middle_end_each_of_them_once(run, monkeypatch):
    monkeypatch.setattr(work, "PAGE", 10)

    async def main():
        store = Meddling()
        w = await world(store)
        _, call = await w.proved()
        tasks = [await w.task(call) for _ in range(35)]
        await apply(w.env, operator(w), changed(policies__default_dot_cedar=NOW_DENIED))
        await work.redecide(w.env, w.clock.now)
        (row,) = await w.store.find(Redecision, {"lasts": "yes"})
        assert (row.seen, row.ended, row.reached_at) == (10, 10, 0) and await left(w.env, row) == 25

        async def crash():
            raise StoreUnavailable("gone")

        store.before, store.meddle = "TasksRedecided", crash
        with pytest.raises(StoreUnavailable):
            await work.redecide(w.env, w.clock.now)
        assert (await w.store.get(Redecision, row.id)).seen == 10
        while await w.store.find(Redecision, {"lasts": "yes"}):
            await asyncio.gather(work.redecide(w.env, w.clock.now), work.redecide(w.env, w.clock.now))
        assert [(await state(w, task))[0] for task in tasks] == [TaskState.REVOKED] * 35
        assert w.events().count("TaskEnded") == 35
        (row,) = await w.store.find(Redecision, {"lasts": "no"})
        assert await left(w.env, row) == 0 and not await replay(w.store)

    run(main())


def test_two_replicas_on_one_postgres_end_each_of_them_once(postgres):
    """Both work on the same change at the same time, each with a store of its own on one database."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS redecide")
        db.execute("CREATE DATABASE redecide")

    async def main():
        one = await PostgresStore.open(postgres.dsn(database="redecide"))
        two = await PostgresStore.open(postgres.dsn(database="redecide"))
        w = await world(one)
        _, call = await w.proved()
        tasks = await asyncio.gather(*(w.task(call) for _ in range(80)))
        other = replace(w.env, store=two)
        _, planned = await apply(w.env, operator(w), changed(policies__default_dot_cedar=NOW_DENIED))
        assert planned.ends.count == 80
        while await one.find(Redecision, {"lasts": "yes"}):
            await asyncio.gather(work.redecide(w.env, w.clock.now), work.redecide(other, w.clock.now))
        assert {(await two.get(Task, task.id)).state for task in tasks} == {TaskState.REVOKED}
        ends = [leaf for _, leaf, _ in await one.history(0, 1000) if b'"type":"TaskEnded"' in leaf]
        assert len(ends) == 80 and not await replay(two)
        await one.close()
        await two.close()

    asyncio.run(main())


def test_a_store_that_cannot_be_read_ends_nothing_and_permits_nothing(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        await apply(w.env, operator(w), changed(policies__default_dot_cedar=NOW_DENIED))

        class Down(MemoryStore):
            async def get(self, kind, key):
                raise StoreUnavailable("down")

            async def find(self, kind, where, **more):
                return await w.store.find(kind, where, **more)

            async def due(self, kind, now, **more):
                return await w.store.due(kind, now, **more)

        with pytest.raises(StoreUnavailable):
            await work.redecide(replace(w.env, store=Down()), w.clock.now)
        assert (await state(w, task))[0] is TaskState.OPEN
        assert (await w.store.find(Redecision, {"lasts": "yes"}))[0].seen == 0

    run(main())
