"""A freeze stops everything below it at once, ends it soon, and says when nothing of it lives any more."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain.caller import CallerKind
from remit.domain.decision import Access, Deny, Permit
from remit.domain.errors import Absent, BadField, Busy, Conflict, Denied, NotAttested, WrongState
from remit.domain.freeze import MOST, Freeze, Frozen, Reach
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.store.memory import MemoryStore
from remit.verbs.decide import decide
from remit.verbs.freeze import below, freeze, unfreeze
from remit.verbs.issue import issue
from remit.verbs.observe import observe
from remit.verbs.vouch import vouch
from remit.work.end_leases import end_leases
from tests import delegating
from tests.verbs.test_decide import Meddling
from tests.world import world

LIST = {"customer": "acme"}
REACHES = [(Reach.AGENT, "bot"), (Reach.PURPOSE, "pay"), (Reach.OWNER, "olga"), (Reach.EVERYTHING, "")]


def operator(w):
    return w.call(CallerKind.OPERATOR, "op")


async def house(store=None, files=None):
    w = await world(store, files)
    identity, call = await w.proved()
    return w, identity, call, await w.task(call)


@pytest.mark.parametrize(("reach", "name"), REACHES)
def test_nothing_below_it_is_permitted_issued_proposed_or_vouched_for(run, reach, name):
    async def main():
        w, identity, call, task = await house()
        await freeze(w.env, operator(w), reach, name, "incident 7")
        denied = await decide(w.env, call, Access(task.id, "list", LIST))
        assert isinstance(denied, Deny) and denied.why[0].reason.value == "agent_frozen"
        assert "incident 7" in denied.why[0].sentence
        with pytest.raises(Denied, match="incident 7"):
            await issue(w.env, call, task.id, "db")
        with pytest.raises(Denied, match="incident 7"):
            await w.task(call)
        with pytest.raises(NotAttested):
            await vouch(w.env, call, identity, task)
        await unfreeze(w.env, operator(w), reach, name, "over")
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)

    run(main())


@pytest.mark.parametrize(("reach", "name"), [(Reach.AGENT, "other"), (Reach.PURPOSE, "asked"), (Reach.OWNER, "dana")])
def test_what_is_not_below_it_goes_on(run, reach, name):
    async def main():
        w, _, call, task = await house()
        await freeze(w.env, operator(w), reach, name, "odd")
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
        left = await below(w.env, (await w.env.frozen()).freezes[0])
        assert (left.tasks, left.credentials) == ((), 0)

    run(main())


@pytest.mark.parametrize(("reach", "name"), REACHES)
def test_no_permit_is_committed_after_it(run, reach, name):
    """Law 6, for each reach: the freeze lands after the decision has read everything, and before it commits."""

    async def main():
        w, _, call, task = await house(Meddling(MemoryStore()))
        w.store.meddle = lambda: freeze(w.env, operator(w), reach, name, "stop")
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Deny)
        assert (await w.store.get(Task, task.id)).calls == 0

    run(main())


@pytest.mark.parametrize(("reach", "name"), REACHES)
def test_it_reaches_every_task_and_credential_and_says_when(run, reach, name):
    async def main():
        w, _, call, task = await house()
        await issue(w.env, call, task.id, "db")
        found = await freeze(w.env, operator(w), reach, name, "stop")
        left = await below(w.env, found)
        assert ([t.id for t in left.tasks], left.credentials) == ([task.id], 1)
        w.issuer.down = True
        w.clock.advance(5)
        await end_leases(w.env, w.clock.now)
        ended = await w.store.get(Task, task.id)
        assert (ended.state, ended.end_reason) == (TaskState.REVOKED, "frozen: stop")
        left = await below(w.env, found)
        assert (left.tasks, left.credentials) == ((), 1)
        assert not (await w.env.frozen()).freezes[0].reached_at
        w.issuer.down = False
        w.clock.advance(120_000)
        await end_leases(w.env, w.clock.now)
        await end_leases(w.env, w.clock.now)
        (lease,) = await w.store.find(Lease, {"task": task.id})
        assert lease.state is LeaseState.ENDED
        reached = (await w.env.frozen()).freezes[0]
        assert reached.reached_at == w.clock.now and w.events().count("FreezeReached") == 1
        await end_leases(w.env, w.clock.now)
        assert w.events().count("FreezeReached") == 1

    run(main())


def test_who_may_freeze_and_who_may_let_go(run):
    async def main():
        w, _, _, _ = await house()
        dana, olga = w.person("dana"), w.person("olga")
        for caller, reach, name in (
            (dana, Reach.AGENT, "bot"),
            (dana, Reach.PURPOSE, "pay"),
            (dana, Reach.OWNER, "olga"),
            (olga, Reach.EVERYTHING, ""),
            (operator(w), Reach.AGENT, "nobody"),
            (operator(w), Reach.PURPOSE, "nothing"),
            (operator(w), Reach.OWNER, "nobody"),
            (operator(w), Reach.EVERYTHING, "bot"),
        ):
            with pytest.raises(Absent):
                await freeze(w.env, caller, reach, name, "x")
        for reason in ("", "x" * 501):
            with pytest.raises(BadField):
                await freeze(w.env, operator(w), Reach.AGENT, "bot", reason)
        for reach, name in ((Reach.AGENT, "bot"), (Reach.PURPOSE, "pay"), (Reach.OWNER, "olga")):
            await freeze(w.env, olga, reach, name, "mine")
            with pytest.raises(BadField):
                await unfreeze(w.env, olga, reach, name, "x" * 501)
            with pytest.raises(Absent):
                await unfreeze(w.env, dana, reach, name, "")
            await unfreeze(w.env, olga, reach, name, "")
        await freeze(w.env, operator(w), Reach.AGENT, "bot", "security")
        with pytest.raises(Absent):  # what security froze, its owner does not let go
            await unfreeze(w.env, olga, Reach.AGENT, "bot", "please")
        with pytest.raises(Absent):
            await unfreeze(w.env, operator(w), Reach.AGENT, "other", "")
        assert w.events().count("Froze") == 4

    run(main())


class Losing(MemoryStore):
    losing = False

    async def commit(self, change):
        if self.losing and any(isinstance(put.row, Frozen) for put in change.puts):
            raise Conflict("lost")
        return await super().commit(change)


def test_losing_for_ever_says_busy_and_several_at_once_are_all_kept(run):
    async def main():
        w, _, _, _ = await house(Losing())
        both = [(Reach.AGENT, "bot"), (Reach.AGENT, "other"), (Reach.OWNER, "dana"), (Reach.EVERYTHING, "")]
        await asyncio.gather(*(freeze(w.env, operator(w), *one, "x") for one in both))
        assert {(one.reach, one.name) for one in (await w.env.frozen()).freezes} == set(both)
        w.store.losing = True
        with pytest.raises(Busy):
            await freeze(w.env, operator(w), Reach.PURPOSE, "pay", "x")
        with pytest.raises(Busy):
            await unfreeze(w.env, operator(w), Reach.AGENT, "bot", "x")

    run(main())


def test_a_credential_that_comes_while_it_is_frozen_dies(run):
    async def main():
        w, _, call, task = await house()

        async def meddle(lease):
            await freeze(w.env, operator(w), Reach.EVERYTHING, "", "now")

        mint = w.issuer.mint

        async def minted(lease):
            await meddle(lease)
            return await mint(lease)

        w.issuer.mint = minted
        with pytest.raises(Denied):
            await issue(w.env, call, task.id, "db")
        (lease,) = await w.store.find(Lease, {"task": task.id})
        assert lease.state is LeaseState.ENDING

    run(main())


def test_the_row_has_an_end(run):
    one = Freeze(Reach.AGENT, "x", 1, "r", "operator:op")
    full = Frozen(tuple(replace(one, name=str(i)) for i in range(MOST)))
    with pytest.raises(WrongState):
        full.began(one)
    assert one.target == "agent x" and replace(one, reach=Reach.EVERYTHING, name="").target == "everything"
    assert not one.stops(None, None) and not replace(one, reach=Reach.PURPOSE).stops(None, None)
    assert not replace(one, reach=Reach.OWNER).stops(None, None)


@pytest.mark.parametrize(("reach", "name"), [(Reach.AGENT, "bot"), (Reach.PURPOSE, "lead")])
def test_what_was_handed_on_is_below_it_too(run, reach, name):
    async def main():
        w = await delegating.house()
        _, call = await w.proved()
        _, theirs = await w.proved("other")
        task = await w.task(call, "lead", customer="acme")
        child = await delegating.below(w, call, task, theirs)
        await issue(w.env, theirs, child.id, "db")
        found = await freeze(w.env, operator(w), reach, name, "stop")
        left = await below(w.env, found)
        assert ({t.id for t in left.tasks}, left.credentials) == ({task.id, child.id}, 1)
        denied = await decide(w.env, theirs, Access(child.id, "list", LIST))
        assert denied.why[0].reason.value == "agent_frozen"
        for _ in range(3):
            await end_leases(w.env, w.clock.now)
            w.clock.advance(60_000)
        assert (await w.store.get(Task, child.id)).state is TaskState.REVOKED
        assert (await w.env.frozen()).freezes[0].reached_at

    run(main())


def test_a_frozen_agent_is_given_nothing_that_it_asked_for_before(run):
    async def main():
        w, _, call, task = await house()
        assert (await observe(w.env, call, task.id, "list", {"a": 1})).number == 1
        await freeze(w.env, operator(w), Reach.AGENT, "bot", "stop")
        with pytest.raises(Denied, match="frozen") as refused:
            await observe(w.env, call, task.id, "list", {"a": 2})
        assert refused.value.reasons == ("agent_frozen",)

    run(main())
