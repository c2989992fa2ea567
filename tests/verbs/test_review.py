"""Answers to reviews that are forged, late, unsigned or in a race; and what they take away, wherever it is relied on."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.decision import Access, Deny, Permit
from remit.domain.errors import Absent, BadPasskey, Busy, Conflict, Denied, NotEntrusted, NotHome
from remit.domain.events import AccessDecided, NarrowingOver
from remit.domain.freeze import Frozen
from remit.domain.lease import Lease, LeaseState
from remit.domain.narrowing import Entitlement, beneath
from remit.domain.passkey import Signed
from remit.domain.review import Review, Verdict
from remit.domain.task import Task
from remit.formats.jcs import canonical, digest_of
from remit.govern import review as govern
from remit.govern.narrower import narrower
from remit.govern.usage import unused
from remit.verbs import review as verb
from remit.verbs.apply import apply
from remit.verbs.decide import decide
from remit.verbs.depart import depart
from remit.verbs.entrust import entrust
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from remit.work.redecide import redecide
from remit.work.tend_reviews import tend_reviews
from tests.delegating import CATALOGUE, below, hand
from tests.verbs.test_approvals import enrolled
from tests.verbs.test_estate import estate
from tests.work.test_reviews import LIST, answer, files, house, log, look, operator
from tests.world import FILES, world


async def narrow(w, *gone, agent="bot", who="olga"):
    """Somebody is shown that this was never used, and has it taken away."""
    if await w.store.get(Review, agent) is None or not (await w.store.get(Review, agent)).waits:
        await verb.open_review(w.env, operator(w), agent)
    seen = {"may": [{"purpose": p, "kind": kind, "name": name, "unused": True} for p, kind, name in gone]}
    covers = canonical(seen).decode()
    given = verb.Reviewed(digest_of(covers.encode()), Verdict.NARROW)
    return await verb.answer(w.env, w.person(who), agent, given, covers)


async def again(w):
    while await redecide(w.env, w.clock.now):
        pass


@pytest.mark.parametrize("how", ["as it is", "kept for narrowed", "another round", "another agent", "used", "nobody's"])
def test_a_signature_is_of_one_answer_of_one_person_to_one_review(run, how):
    async def main():
        w, _, _ = await house()
        device = await enrolled(w, "gina")
        seen = await look(w)
        given = verb.Reviewed(seen.digest, Verdict.KEEP)
        with pytest.raises(Denied) as no:
            await verb.answer(w.env, w.person("gina"), "bot", given, seen.covers)
        assert no.value.reasons == ("passkey_wanted",)
        other = replace(given, verdict=Verdict.RETIRE) if how == "kept for narrowed" else given
        asked = await verb.challenge(w.env, w.person("gina"), "bot", other, seen.covers)
        signed = replace(given, signed=Signed(**device.signed(asked)))
        if how == "as it is":
            row = await verb.answer(w.env, w.person("gina"), "bot", signed, seen.covers)
            assert row.passkey == signed.signed.passkey
            return
        if how == "another round":
            await answer(w, "olga", Verdict.RETIRE)
            await verb.open_review(w.env, operator(w), "bot")
        if how == "used":
            assert await w.store.spend(f"passkey:{signed.signed.nonce}", signed.signed.expires_at)
        person, agent = ("olga" if how == "nobody's" else "gina"), "bot"
        if how == "another agent":
            agent = "other"
            await apply(w.env, operator(w), files(agents__other_dot_toml='owner = "gina"\n' + JOIN))
            await verb.open_review(w.env, operator(w), agent)
        with pytest.raises(BadPasskey):
            await verb.answer(w.env, w.person(person), agent, signed, seen.covers)

    run(main())


JOIN = '[[attestations]]\nmethod = "join_token"\n'


def test_a_mint_that_was_under_way_is_not_handed_out_and_dies(run):
    async def main():
        w = await world(files=CATALOGUE)
        _, call = await w.proved()
        _, other = await w.proved("other")
        task = await propose(w.env, call, Proposal("lead", "goal", LIST))
        child = await below(w, call, task, other)
        for caller, mine in ((call, task), (other, child)):  # its own, and of whoever it handed on to
            w.issuer.mint_gate, w.issuer.minting = asyncio.Event(), asyncio.Event()
            minting = asyncio.ensure_future(issue(w.env, caller, mine.id, "db"))
            await w.issuer.minting.wait()
            await narrow(w, ("lead", "credential", "db"))
            w.issuer.mint_gate.set()
            with pytest.raises(Denied):
                await minting
            w.issuer.mint_gate = None
            await verb.open_review(w.env, operator(w), "bot")
            await keep(w)
        rows = await w.store.find(Lease, {}, limit=10)
        assert rows and not [row for row in rows if row.state is LeaseState.LIVE]

    run(main())


async def keep(w, agent="bot", who="olga"):
    covers = canonical({"may": []}).decode()
    given = verb.Reviewed(digest_of(covers.encode()), Verdict.KEEP)
    return await verb.answer(w.env, w.person(who), agent, given, covers)


def test_what_whoever_is_below_was_given_dies_too(run):
    async def main():
        w = await world(files=CATALOGUE)
        _, call = await w.proved()
        _, other = await w.proved("other")
        task = await propose(w.env, call, Proposal("lead", "goal", LIST))
        child = await below(w, call, task, other)
        lease, _ = await issue(w.env, other, child.id, "db")
        await again(w)
        assert (await w.store.get(Lease, lease.id)).state is LeaseState.LIVE
        await narrow(w, ("lead", "credential", "db"))
        await again(w)
        assert (await w.store.get(Lease, lease.id)).state is not LeaseState.LIVE
        force = (await w.env.in_force())[1]
        assert {("agent", "bot"), ("purpose", "dig")} <= set(beneath("bot", force.catalogue.purposes))
        assert beneath("nobody", force.catalogue.purposes) == (("agent", "nobody"),)

    run(main())


def test_nothing_is_handed_on_that_was_taken_away(run):
    async def main():
        w = await world(files=CATALOGUE)
        _, call = await w.proved()
        task = await propose(w.env, call, Proposal("lead", "goal", LIST))
        await hand(w, call, task)
        force = (await w.env.in_force())[1]
        lead = force.catalogue.purposes["lead"]
        await narrow(w, *(("lead", "tool", grant.tool) for grant in lead.grants))
        with pytest.raises(Denied):
            await hand(w, call, task)

    run(main())


def test_an_edge_decides_nothing_of_whom_something_was_taken_from(run):
    async def main():
        w, edge, bot, task = await estate()
        assert isinstance(await edge.decide(bot, task.id), Permit)
        await narrow(w, ("pay", "tool", "pay"))
        frozen = await w.env.frozen()
        told = Change(NarrowingOver("bot"), Call(edge.call().caller, w.clock.now))  # as `follow` puts it
        await edge.store.commit(
            told.put(Frozen(frozen.freezes, frozen.narrowed), was=await edge.store.get(Frozen, "frozen"))
        )
        with pytest.raises(NotHome):
            await edge.decide(bot, task.id)
        again = await w.task(bot)
        with pytest.raises(NotEntrusted, match="taken away"):
            await entrust(w.env, edge.call(), again.id, edge.seat)

    run(main())


@pytest.mark.parametrize("catalogue", ["", 'owner = "gina"'])
def test_whoever_stops_answering_for_it_while_they_look_answers_nothing(run, catalogue):
    async def main():
        w, _, _ = await house()
        seen = await look(w)
        if catalogue:
            await apply(w.env, operator(w), files(agents__bot_dot_toml=catalogue + "\n" + JOIN))
        else:
            await depart(w.env, operator(w), "olga", "left")
        with pytest.raises(Absent):
            await answer(w, "olga", Verdict.KEEP, seen)

    run(main())


def test_what_is_not_known_to_be_unused_stays(run, monkeypatch):
    async def main():
        w, call, task = await house("[reviews]\nnarrow_after = '1m'\ndue = '1m'\n")

        async def idle(since=0):
            _, force = await w.env.in_force()
            found = await unused(w.store, force.catalogue.purposes["pay"], agents=("bot",), since=since)
            return "mail" in found.tools, "db" in found.credentials

        assert await idle() == (True, True)
        await issue(w.env, call, task.id, "db")
        await log(w)
        assert await idle() == (True, False)
        w.clock.now += 1000
        old = AccessDecided(task.id, "bot", "mail", "a", "permit", (), (), (), "", "c", "trusted", "public", "", "", (), 0, 0)  # fmt: skip
        await w.store.commit(Change(old, Call(call.caller, w.clock.now)))  # from before purposes were written down
        await log(w)
        assert await idle(w.clock.now) == (False, False)
        monkeypatch.setattr(govern, "TAIL", -1)  # the index is behind
        with pytest.raises(Busy):
            await look(w)
        await tend_reviews(w.env, w.store, w.clock.now + 180_000)
        assert not (await w.env.narrowing("bot")).without

    run(main())


def test_two_who_answer_at_once_are_one_answer(run):
    async def main():
        w, _, _ = await house()
        seen = await look(w)

        async def between():
            await answer(w, "olga", Verdict.NARROW, seen)

        w.store.between = between
        with pytest.raises(Conflict):
            await answer(w, "gina", Verdict.KEEP, seen)
        assert (await w.store.get(Review, "bot")).verdict == "narrow" and (await w.env.narrowing("bot")).without

    run(main())


def test_an_agent_that_used_nothing_of_a_purpose_is_taken_out_of_it(run):
    async def main():
        both = FILES["purposes/asked.toml"].replace('"bot"', '"bot", "other"')
        w, _, _ = await house(purposes__asked_dot_toml=both)
        row, force = await w.store.get(Review, "bot"), (await w.env.in_force())[1]
        gone = [held for held in (await look(w)).unused if held.purpose == "asked"]
        found = await narrower(w.env, w.store, row, [*gone, Entitlement("nothing", "tool", "x")])
        assert 'agents = ["other"]' in found["files"]["purposes/asked.toml"] and not found["kept"]
        tools = [Entitlement("pay", "tool", grant.tool) for grant in force.catalogue.purposes["pay"].grants]
        found = await narrower(w.env, w.store, row, tools)
        assert not found["files"] and found["kept"] == ["pay: it keeps its tools, or it would be of no use."]

    run(main())


def test_of_a_task_that_others_began_anybody_may_keep_the_agent(run):
    async def main():
        w, call, task = await house(began="olga")
        row = await w.store.get(Review, "bot")
        later = replace(row, since=w.clock.now + 1)  # what olga began was before what is looked at
        await w.store.commit(Change(NarrowingOver("bot"), call).put(later, was=row))
        assert (await answer(w, "olga", Verdict.KEEP)).verdict == "keep"
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
        assert (await w.store.get(Task, task.id)).initiator.name == "olga" and not isinstance(task, Deny)

    run(main())


def test_of_what_is_all_used_nothing_is_taken(run):
    async def main():
        w, call, task = await house()
        assert (await narrow(w)).verdict == "narrow" and not (await w.env.frozen()).narrowed
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)

    run(main())
