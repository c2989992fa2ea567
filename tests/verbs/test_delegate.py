"""Delegate: every refusal, every race, and what an agent could launder through another (THREATS row 14)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain.approval import Approval
from remit.domain.caller import CallerKind
from remit.domain.decision import Access, Deny, Hold, Permit, word
from remit.domain.errors import (
    Absent,
    BadField,
    BadToken,
    Busy,
    Conflict,
    Denied,
    Replayed,
    StoreUnavailable,
    WrongState,
)
from remit.domain.flow import Sensitivity, Trust
from remit.domain.freeze import Reach
from remit.domain.identity import Identity
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.verbs import delegate as verb
from remit.verbs.apply import apply
from remit.verbs.approve import Given, answer
from remit.verbs.decide import decide
from remit.verbs.delegate import Part, delegate
from remit.verbs.freeze import freeze, unfreeze
from remit.verbs.issue import issue
from remit.verbs.observe import observe
from remit.verbs.propose import Proposal
from remit.verbs.revoke import end_task
from remit.verbs.vouch import first_token, vouch
from remit.work.end_leases import end_leases
from tests.delegating import AGENT, CATALOGUE, DIG, LEAD, accept, below, hand, house, last, now, read

LIST = {"customer": "acme"}
PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


def codes(decision):
    return [why.reason.value for why in decision.why]


async def pair():
    """A house, the giver's call and task, the receiver's call."""
    w = await house()
    _, bot = await w.proved()
    _, other = await w.proved("other")
    return w, bot, await w.task(bot, "lead", customer="acme"), other


def operator(w):
    return w.call(CallerKind.OPERATOR, "op")


async def refused(reason, doing):
    with pytest.raises(Denied) as denied:
        await doing
    assert denied.value.reasons == (reason,)


def test_a_child_is_no_more_than_its_parent_in_anything(run):
    async def main():
        w, bot, task, other = await pair()
        child = await below(w, bot, task, other)
        assert (child.parent, child.initiator, child.chain.agents()) == (task.id, task.initiator, ("bot", "other"))
        assert child.deadline == w.clock.now + 300_000 and child.max_calls == 6
        assert (await w.store.get(Task, task.id)).left == 14
        found = await decide(w.env, other, Access(child.id, "list", LIST))
        assert isinstance(found, Permit)
        assert last(w, "AccessDecided")["chain"] == [task.id] == last(w, "TaskProposed")["chain"]
        for tool, arguments in (("list", {"customer": "globex"}), ("mail", {}), ("pay", {**PAY, "amount": "501"})):
            assert codes(await decide(w.env, other, Access(child.id, tool, arguments))) == ["out_of_scope"], tool
        text, token = first_token(w.env, other, await w.store.get(Identity, other.caller.jkt), child)
        assert (token.subject, token.actor) == ("agent:bot", ("other", "bot")) and text
        lease, _ = await issue(w.env, other, child.id, "db")
        assert lease.expires_at <= child.deadline and last(w, "LeaseReserved")["chain"] == [task.id]

    run(main())


def test_a_childs_deadline_is_never_after_its_parents(run):
    async def main():
        w, bot, task, other = await pair()
        w.clock.advance(12 * 60_000)
        text = await hand(w, bot, task)
        w.clock.advance(60_000)
        assert (await accept(w, other, text)).deadline == task.deadline

    run(main())


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"agent": "bot", "purpose": "lead"}, "not_delegable"),
        ({"agent": "third"}, "not_delegable"),
        ({"agent": "nobody"}, "not_delegable"),
        ({"purpose": "pay"}, "not_delegable"),
        ({"purpose": "nothing"}, "not_delegable"),
        ({"purpose": "lead"}, "not_delegable"),
        ({"parameters": {"customer": "globex"}, "purpose": "narrow"}, "out_of_scope"),
        ({"max_calls": 21}, "budget_spent"),
    ],
)
def test_what_a_hand_off_is_refused_for(run, part, reason):
    async def main():
        narrow = DIG.replace('tool = "list"\n', 'tool = "list"\nresource = "customer/{customer}"\n')
        narrow = narrow.replace('[[grants]]\ntool = "note"\n[[grants]]\ntool = "web"\n', "")
        files = {
            **CATALOGUE,
            "purposes/narrow.toml": narrow,
            "purposes/lead.toml": LEAD.replace('"watched"]', '"watched", "narrow"]'),
        }
        w = await house(files)
        _, bot = await w.proved()
        task = await w.task(bot, "lead", customer="acme")
        await refused(reason, hand(w, bot, task, **{"agent": "other", **part}))
        assert w.events()[-1] == "DelegationDenied" and last(w, "DelegationDenied")["reasons"] == [reason]
        assert (await w.store.get(Task, task.id)).handed == 0

    run(main())


@pytest.mark.parametrize(
    "part",
    [
        {"goal": ""},
        {"goal": "x" * 4097},
        {"duration": -1},
        {"max_calls": -1},
        {"parameters": {}},
        {"parameters": {"customer": "ACME"}},
        {"parameters": {"customer": "acme", "x": "y"}},
    ],
)
def test_what_is_no_hand_off(run, part):
    async def main():
        w, bot, task, _ = await pair()
        with pytest.raises(BadField):
            await hand(w, bot, task, **part)

    run(main())


def test_who_may_hand_on(run):
    async def main():
        w, bot, task, other = await pair()
        _, second_key = await w.proved("bot")
        part = Part("other", "dig", "dig", LIST)
        for caller in (other, second_key, w.call(CallerKind.ENFORCER, "gate"), w.person("olga")):
            with pytest.raises(Absent):
                await delegate(w.env, caller, task.id, part)
        with pytest.raises(Absent):
            await delegate(w.env, bot, "tsk_nothing", part)

    run(main())


def test_an_agent_that_could_not_act_hands_nothing_on(run):
    async def main():
        w, bot, task, _ = await pair()
        await freeze(w.env, operator(w), Reach.AGENT, "bot", "odd")
        await refused("agent_frozen", hand(w, bot, task))
        await unfreeze(w.env, operator(w), Reach.AGENT, "bot", "fine")
        await hand(w, bot, task, max_calls=1)  # its standing is a row now
        identity = await w.store.get(Identity, bot.caller.jkt)
        part = Part("other", "dig", "dig", LIST)
        late = replace(bot, now=identity.expires_at)
        await refused("identity_stale", delegate(w.env, late, task.id, part))
        await refused("task_not_open", delegate(w.env, replace(bot, now=task.deadline), task.id, part))
        files = {**CATALOGUE, "purposes/lead.toml": LEAD.replace("max_calls = 20", "max_calls = 21")}
        await apply(w.env, operator(w), files)
        await refused("purpose_superseded", hand(w, bot, task))
        gone = {n: t for n, t in files.items() if n not in ("agents/bot.toml", "purposes/lead.toml")}
        gone = {n: t.replace('"bot"', '"other"') for n, t in gone.items()}
        await apply(w.env, operator(w), gone)
        await refused("agent_unknown", hand(w, bot, task))

    run(main())


def test_loops_and_depth_bombs_are_refused_by_everybody_above(run):
    async def main():
        w, bot, task, other = await pair()
        _, third = await w.proved("third")
        child = await below(w, bot, task, other)
        await refused("delegation_loop", hand(w, other, child, "bot"))
        grandchild = await below(w, other, child, third)
        assert grandchild.chain.depth == 2
        # `dig` alone would allow five; `lead`, two above, allows two.
        await refused("too_deep", hand(w, third, grandchild, "other"))

    run(main())


def test_an_agent_may_act_again_where_the_rule_says_so(run):
    async def main():
        deep = {**CATALOGUE, "purposes/lead.toml": LEAD.replace("max_depth = 2", "max_depth = 5")}
        w = await house(deep)
        _, bot = await w.proved()
        _, other = await w.proved("other")
        _, third = await w.proved("third")
        task = await w.task(bot, "lead", customer="acme")
        child = await below(w, bot, task, other)
        grandchild = await below(w, other, child, third)
        again = await below(w, third, grandchild, other)
        assert again.chain.agents() == ("bot", "other", "third", "other")

    run(main())


def test_a_fan_out_cannot_multiply_a_budget(run):
    async def main():
        w, bot, task, other = await pair()
        texts = [await hand(w, bot, task) for _ in range(3)]
        await refused("fan_out_spent", hand(w, bot, task))
        children = [await accept(w, other, text) for text in texts]
        assert [child.max_calls for child in children] == [6, 6, 6]
        for child in children:
            for _ in range(6):
                assert isinstance(await decide(w.env, other, Access(child.id, "list", LIST)), Permit)
            assert codes(await decide(w.env, other, Access(child.id, "list", LIST))) == ["budget_spent"]
        for expected in (Permit, Permit, Deny):
            assert isinstance(await decide(w.env, bot, Access(task.id, "list", LIST)), expected)
        with pytest.raises(WrongState):
            (await w.store.get(Task, task.id)).hands_on(1)

    run(main())


def test_a_task_with_nothing_left_hands_nothing_on(run):
    async def main():
        w = await house({**CATALOGUE, "purposes/lead.toml": LEAD.replace("max_calls = 20", "max_calls = 1")})
        _, bot = await w.proved()
        task = await w.task(bot, "lead", customer="acme")
        await decide(w.env, bot, Access(task.id, "list", LIST))
        await refused("budget_spent", hand(w, bot, task))

    run(main())


def test_two_hand_offs_at_once_take_the_budget_once(run):
    async def main():
        w, bot, task, _ = await pair()

        async def first():
            await hand(w, bot, task, max_calls=6)
            await hand(w, bot, task, max_calls=6)

        w.store.between = first
        await hand(w, bot, task, max_calls=6)
        assert ((await w.store.get(Task, task.id)).lent, (await w.store.get(Task, task.id)).handed) == (18, 3)

    run(main())


def test_a_task_that_keeps_moving_is_busy(run, monkeypatch):
    async def main():
        w, bot, task, _ = await pair()
        monkeypatch.setattr(verb, "ROUNDS", 1)
        w.store.between = lambda: decide(w.env, bot, Access(task.id, "list", LIST))
        with pytest.raises(Busy):
            await hand(w, bot, task)

    run(main())


def test_handing_on_while_the_task_ends_gives_no_token(run):
    async def main():
        w, bot, task, _ = await pair()
        w.store.between = lambda: end_task(w.env, operator(w), task.id, "stop")
        await refused("task_not_open", hand(w, bot, task))

    run(main())


def test_a_delegation_opens_one_task_for_its_receiver_while_it_lasts(run):
    async def main():
        w, bot, task, other = await pair()
        _, third = await w.proved("third")
        text = await hand(w, bot, task)
        with pytest.raises(Absent):
            await accept(w, third, text)
        w.store.between = lambda: accept(w, other, text)
        with pytest.raises(Conflict):
            await accept(w, other, text)
        with pytest.raises(Replayed):
            await accept(w, other, text)
        late = await hand(w, bot, task)
        found = read(w, late)
        w.clock.advance(verb.DELEGATION_TTL)
        await refused("task_expired", verb_propose(w, other, found))
        w.clock.advance(5_000)
        with pytest.raises(BadToken):
            read(w, late)
        with pytest.raises(Absent):
            await verb_propose(w, other, replace(found, parent="tsk_nothing", expires_at=w.clock.now + 1))

    async def verb_propose(w, call, found):
        from remit.verbs.propose import propose

        return await propose(w.env, now(w, call), Proposal("", ""), delegation=found)

    run(main())


def test_a_receiver_may_ask_for_less_and_never_for_more(run):
    async def main():
        w, bot, task, other = await pair()
        text = await hand(w, bot, task, duration=60_000, max_calls=4)
        for proposal in (
            Proposal("lead", ""),
            Proposal("dig", "something else"),
            Proposal("", "", {"customer": "globex"}),
        ):
            with pytest.raises(BadField):
                await accept(w, other, text, proposal)
        more = await accept(w, other, text, Proposal("dig", "dig", LIST, 600_000, 50))
        assert (more.max_calls, more.deadline) == (4, w.clock.now + 60_000)
        less = await accept(w, other, await hand(w, bot, task), Proposal("", "", {}, 1_000, 1))
        assert (less.max_calls, less.deadline) == (1, w.clock.now + 1_000)

    run(main())


async def line():
    """bot → other → third, and everybody's calls."""
    w, bot, task, other = await pair()
    _, third = await w.proved("third")
    child = await below(w, bot, task, other)
    grandchild = await below(w, other, child, third, max_calls=3)
    return w, (bot, other, third), (task, child, grandchild)


@pytest.mark.parametrize("which", [0, 1])
def test_ending_a_task_ends_everything_below_in_that_commit(run, which):
    async def main():
        w, (bot, other, third), tasks = await line()
        grandchild = tasks[2]
        held = await decide(w.env, third, Access(grandchild.id, "pay", PAY))
        assert isinstance(held, Hold)
        approval = await w.store.get(Approval, held.approval)
        assert "handed this by bot, then other" in approval.shown.sentence
        assert approval.shown.goal == "goal → third was told: dig"
        lease, _ = await issue(w.env, third, grandchild.id, "db")
        text = await hand(w, other, tasks[1], "third")
        before = len(w.events())
        await end_task(w.env, operator(w), tasks[which].id, "stop")
        assert len(w.events()) == before + 1
        found = await decide(w.env, third, Access(grandchild.id, "list", LIST))
        assert codes(found) == ["ancestor_ended"]
        await refused("ancestor_ended", issue(w.env, third, grandchild.id, "db"))
        await refused("ancestor_ended", observe(w.env, third, grandchild.id, "list", {"a": 1}))
        identity = await w.store.get(Identity, third.caller.jkt)
        await refused("ancestor_ended", vouch(w.env, third, identity, grandchild))
        await refused("ancestor_ended", accept(w, third, text))
        await refused("ancestor_ended", hand(w, third, grandchild, "other"))
        with pytest.raises(WrongState):
            await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        assert w.issuer.live == {lease.handle}  # refused at once; dead as soon as the reconcilers have run
        while not (await end_leases(w.env, w.clock.now)).idle:
            pass
        assert w.issuer.live == set()
        states = [(await w.store.get(Task, one.id)) for one in tasks]
        assert all(one.settled_at for one in states[which:])
        assert [one.state for one in states[which + 1 :]] == [TaskState.REVOKED] * (2 - which)
        if which:
            assert isinstance(await decide(w.env, bot, Access(tasks[0].id, "list", LIST)), Permit)

    run(main())


def test_a_childs_permit_and_its_parents_end_at_once(run):
    async def main():
        for move in range(3):
            w, (_, _, third), tasks = await line()
            w.store.between = lambda w=w, tasks=tasks: end_task(w.env, operator(w), tasks[0].id, "stop")
            match move:
                case 0:
                    assert codes(await decide(w.env, third, Access(tasks[2].id, "list", LIST))) == ["ancestor_ended"]
                case 1:
                    await refused("ancestor_ended", observe(w.env, third, tasks[2].id, "list", {"a": 1}))
                case _:
                    await refused("ancestor_ended", issue(w.env, third, tasks[2].id, "db"))
            assert (await w.store.get(Task, tasks[2].id)).calls == 0

    run(main())


def test_opening_a_child_while_its_parent_ends(run):
    async def main():
        w, bot, task, other = await pair()
        text = await hand(w, bot, task)
        w.store.between = lambda: end_task(w.env, operator(w), task.id, "stop")
        with pytest.raises(Conflict):
            await accept(w, other, text)
        await refused("ancestor_ended", accept(w, other, text))

    run(main())


def test_a_mint_below_that_lands_after_the_end_is_killed(run):
    async def main():
        w, (_, _, third), tasks = await line()
        w.issuer.mint_gate = asyncio.Event()
        minting = asyncio.ensure_future(issue(w.env, third, tasks[2].id, "db"))
        await w.issuer.minting.wait()
        await end_task(w.env, operator(w), tasks[0].id, "stop")
        w.issuer.mint_gate.set()
        with pytest.raises(Denied):
            await minting
        (lease,) = await w.store.find(Lease, {"task": tasks[2].id})
        assert lease.state is LeaseState.ENDING
        w.clock.advance(60_000)
        await end_leases(w.env, w.clock.now)
        assert w.issuer.live == set()

    run(main())


def test_a_deadline_above_ends_what_is_below(run):
    async def main():
        w, (_, other, _), tasks = await line()
        await issue(w.env, other, tasks[1].id, "db")
        w.clock.advance(15 * 60_000)
        while not (await end_leases(w.env, w.clock.now)).idle:
            pass
        assert w.issuer.live == set()
        assert all([(await w.store.get(Task, one.id)).settled_at for one in tasks])

    run(main())


def test_a_parent_does_not_settle_before_its_children(run):
    async def main():
        w, (bot, other, _), tasks = await line()
        await issue(w.env, other, tasks[1].id, "db")
        w.issuer.down = True
        await end_task(w.env, bot, tasks[0].id, "done")
        for _ in range(3):
            await end_leases(w.env, w.clock.now)
        assert not (await w.store.get(Task, tasks[0].id)).settled_at
        w.issuer.down = False
        w.clock.advance(120_000)
        while not (await end_leases(w.env, w.clock.now)).idle:
            pass
        assert (await w.store.get(Task, tasks[0].id)).settled_at and w.issuer.live == set()

    run(main())


def test_what_a_child_reads_darkens_its_parent_and_what_the_parent_reads_its_child(run):
    async def main():
        w, (bot, other, third), tasks = await line()
        await observe(w.env, third, tasks[2].id, "web", {"iban": "DE89370400440532013000"})
        labels = [(await w.store.get(Task, one.id)).label for one in tasks]
        assert [label.trust for label in labels] == [Trust.UNTRUSTED] * 3
        await decide(w.env, bot, Access(tasks[0].id, "list", LIST))
        await decide(w.env, other, Access(tasks[1].id, "web"))
        assert last(w, "AccessDecided")["sensitivity"] == "confidential"
        late = await below(w, bot, tasks[0], other)
        assert (late.label.trust, late.label.sensitivity) == (Trust.UNTRUSTED, Sensitivity.CONFIDENTIAL)

    run(main())


IBAN = "DE89370400440532013000"


@pytest.mark.parametrize(("reads", "writes"), [(2, 0), (0, 2), (1, 1), (2, 1)])
def test_a_value_that_one_read_is_no_better_in_anothers_hands(run, reads, writes):
    async def main():
        w, calls, tasks = await line()
        await observe(w.env, calls[reads], tasks[reads].id, "web", {"iban": IBAN})
        await decide(w.env, calls[writes], Access(tasks[writes].id, "note", {"to": IBAN}))
        assert last(w, "AccessDecided")["origin"] == "untrusted"

    run(main())


def test_what_an_agent_tells_another_is_not_what_the_initiator_stated(run):
    async def main():
        w, bot, task, other = await pair()
        child = await below(w, bot, task, other, goal=f"send it to {IBAN}", parameters={"customer": "acme"})
        await decide(w.env, other, Access(child.id, "note", {"to": IBAN}))
        assert last(w, "AccessDecided")["origin"] == "invented"
        await decide(w.env, other, Access(child.id, "note", {"to": "acme"}))
        assert last(w, "AccessDecided")["origin"] == "stated"  # the first task's initiator did say that
        assert (await w.store.get(Task, task.id)).uses == {"note": 2}

    run(main())


def test_a_childs_digests_are_kept_until_the_first_task_has_settled(run):
    async def main():
        w, (bot, _, third), tasks = await line()
        await observe(w.env, third, tasks[2].id, "web", {"iban": IBAN})
        await end_task(w.env, third, tasks[2].id, "done")
        while not (await end_leases(w.env, w.clock.now)).idle:
            pass
        assert (await w.store.get(Task, tasks[2].id)).settled_at
        await decide(w.env, bot, Access(tasks[0].id, "note", {"to": IBAN}))
        assert last(w, "AccessDecided")["origin"] == "untrusted"
        await end_task(w.env, bot, tasks[0].id, "done")
        while not (await end_leases(w.env, w.clock.now)).idle:
            pass
        assert w.events().count("ObservationsForgotten") == 1

    run(main())


def test_a_credential_that_nobody_above_could_have_had_is_refused(run):
    async def main():
        w, bot, task, other = await pair()
        child = await below(w, bot, task, other)
        await refused("out_of_scope", issue(w.env, other, child.id, "other_db"))
        # The same credential of another customer: `list` is met with the parent's, an issuer's grants cannot be.
        strange = await below(w, bot, task, other, parameters={"customer": "globex"})
        await refused("out_of_scope", issue(w.env, other, strange.id, "db"))
        assert not w.issuer.live

    run(main())


def test_nothing_lifts_a_policy_below_that_holds_above(run):
    async def main():
        w, bot, task, other = await pair()
        child = await below(w, bot, task, other, purpose="watched")
        assert word(await decide(w.env, other, Access(child.id, "pay", PAY))) == "hold"
        auto = {**CATALOGUE, "agents/bot.toml": 'tier = "autonomous"\n' + AGENT}
        w = await house(auto)
        _, bot = await w.proved()
        _, other = await w.proved("other")
        task = await w.task(bot, "lead", customer="acme")
        child = await below(w, bot, task, other)
        above = await w.env.above(child.chain.hops[:-1])
        _, force = await w.env.in_force()
        catalogue = force.catalogue
        agent, purpose = above.strictest(catalogue, catalogue.agents["other"], catalogue.purposes["watched"])
        assert (agent.tier.value, purpose.profile.value) == ("autonomous", "guarded")

    run(main())


def test_an_approval_of_one_task_is_of_no_other(run):
    async def main():
        w, bot, task, other = await pair()
        child = await below(w, bot, task, other)
        held = await decide(w.env, bot, Access(task.id, "pay", PAY))
        approval = await w.store.get(Approval, held.approval)
        await answer(w.env, replace(w.person("frank")), approval.id, Given(approval.digest, True))
        assert isinstance(await decide(w.env, other, Access(child.id, "pay", PAY)), Hold)
        held = await decide(w.env, other, Access(child.id, "pay", PAY))
        approval = await w.store.get(Approval, held.approval)
        await answer(w.env, w.person("gina"), approval.id, Given(approval.digest, True))
        assert isinstance(await decide(w.env, other, Access(child.id, "pay", PAY)), Permit)

    run(main())


def test_whoever_could_not_go_on_above_stops_what_is_below(run):
    async def main():
        w, bot, task, other = await pair()
        child = await below(w, bot, task, other)

        async def asked():
            return codes(await decide(w.env, other, Access(child.id, "list", LIST)))

        await freeze(w.env, operator(w), Reach.AGENT, "bot", "odd")
        assert await asked() == ["agent_frozen"]
        await unfreeze(w.env, operator(w), Reach.AGENT, "bot", "fine")
        w.store.between = lambda: freeze(w.env, operator(w), Reach.AGENT, "bot", "odd again")
        assert await asked() == ["agent_frozen"]
        await unfreeze(w.env, operator(w), Reach.AGENT, "bot", "fine")
        assert isinstance(await decide(w.env, other, Access(child.id, "list", LIST)), Permit)
        files = {**CATALOGUE, "purposes/lead.toml": LEAD.replace("max_calls = 20", "max_calls = 21")}
        await apply(w.env, operator(w), files)
        assert await asked() == ["purpose_superseded"]
        gone = {n: t.replace('"bot"', '"third"') for n, t in files.items() if n not in ("agents/bot.toml",)}
        gone["purposes/dig.toml"] = DIG.replace(', "bot"]', "]")  # a purpose of the child's that is another now
        await apply(w.env, operator(w), gone)
        above = await w.env.above(child.chain.hops[:-1])
        _, force = await w.env.in_force()
        assert above.flaw(force.catalogue, w.clock.now).reason.value == "agent_unknown"

    run(main())


def test_a_chain_that_cannot_be_read_is_no_chain(run):
    async def main():
        w, bot, task, other = await pair()
        child = await below(w, bot, task, other)
        del w.store._rows[("branches", task.id)]
        with pytest.raises(StoreUnavailable):
            await decide(w.env, other, Access(child.id, "list", LIST))

    run(main())


def test_a_hand_off_that_has_read_too_much_is_refused(run, monkeypatch):
    async def main():
        monkeypatch.setattr("remit.ports.env.READ_TOGETHER", 1)
        w, bot, task, other = await pair()
        child = await below(w, bot, task, other)
        for call, one in ((bot, task), (other, child)):
            await observe(w.env, call, one.id, "list", {"a": 1})
        with pytest.raises(Busy):
            await decide(w.env, bot, Access(task.id, "list", LIST))

    run(main())


def test_what_is_bound_to_a_key_is_opened_by_that_key_alone(run):
    async def main():
        w = await house()
        _, call = await w.proved()
        task = await w.task(call, "lead")
        _, other = await w.proved("other")
        _, twin = await w.proved("other")
        text = await hand(w, call, task, jkt=other.caller.jkt)
        assert read(w, text).jkt == other.caller.jkt
        with pytest.raises(Absent):
            await accept(w, twin, text)
        assert (await accept(w, other, text)).jkt == other.caller.jkt
        before = (await w.store.get(Task, task.id)).lent
        for stranger in (call.caller.jkt, "nothing"):
            await refused("not_its_key", hand(w, call, task, jkt=stranger))
            assert last(w, "DelegationDenied")["reasons"] == ["not_its_key"]
        assert (await w.store.get(Task, task.id)).lent == before

    run(main())
