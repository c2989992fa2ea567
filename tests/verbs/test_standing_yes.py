"""A standing yes covers what a person saw and released, in that task, so often, until then: and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from remit.domain.approval import Again, Approval, ApprovalState
from remit.domain.caller import CallerKind
from remit.domain.decision import Access, Hold, Permit
from remit.domain.errors import Absent, BadField, Denied, WrongState
from remit.domain.freeze import Reach
from remit.domain.origin import NOTHING_TRACED, Origin, Traced
from remit.domain.standing_yes import StandingYes
from remit.domain.task import Task
from remit.verbs import consult
from remit.verbs.apply import apply
from remit.verbs.approve import Given, answer
from remit.verbs.decide import decide
from remit.verbs.freeze import freeze, unfreeze
from remit.verbs.observe import observe
from remit.verbs.revoke import end_task
from remit.work.end_leases import end_leases
from tests.delegating import Between, below
from tests.world import FILES, world

SEND = """
effect = "write"
output_trust = "trusted"
resource = "customer/{customer}"
matters = ["customer", "to", "amount"]
[arguments.customer]
type = "text"
[arguments.to]
type = "text"
[arguments.amount]
type = "decimal"
[arguments.body]
type = "text"
"""
INBOX = 'effect = "read"\noutput_trust = "untrusted"\n'
HOLD = """
@id("within") permit (principal, action, resource);
@id("hold-send") @approvers("finance") forbid (principal, action == Remit::Action::"send", resource) unless { context.approved };
@id("hold-late") @approvers("finance") forbid (principal, action == Remit::Action::"send", resource)
when { context.calls >= 6 } unless { context.approved };
"""
ARGUMENTS = {"customer": "acme", "to": "ann", "amount": "100.00", "body": "hello"}


def files(rule="standing = 5", hold=HOLD):
    grants = (
        FILES["purposes/pay.toml"].replace('approval = { ttl = "10m" }', "").replace("max_calls = 5", "max_calls = 50")
    )
    grants = grants.replace(
        '[[grants]]\ntool = "mail"', '[[grants]]\ntool = "send"\n[[grants]]\ntool = "inbox"\n[[grants]]\ntool = "mail"'
    )
    grants += f'\n[approval]\nttl = "10m"\n{rule}\n'
    return {**FILES, "tools/send.toml": SEND, "tools/inbox.toml": INBOX, "purposes/pay.toml": grants, "policies/default.cedar": hold}  # fmt: skip


async def house(rule="standing = 5", **more):
    w = await world(files=files(rule, **more))
    _, call = await w.proved()
    return w, call, await w.task(call)


async def send(w, call, task, **other):
    arguments = {name: value for name, value in {**ARGUMENTS, **other}.items() if value is not None}
    return await decide(w.env, replace(call, now=w.clock.now), Access(task.id, "send", arguments))


async def agreed(w, call, task, count=3, lasts=60_000, released=(), people=("frank",), **other):
    """A first one that is held, and a yes to it and the next so many."""
    hold = await send(w, call, task, **other)
    assert isinstance(hold, Hold), hold
    approval = await w.store.get(Approval, hold.approval)
    again = Again(count, w.clock.now + lasts, released)
    for person in people:
        found = await answer(w.env, w.person(person), approval.id, Given(approval.digest, True, again=again))
    assert found.state is ApprovalState.GRANTED
    return approval, await w.store.get(StandingYes, "sty_" + approval.id.removeprefix("apv_"))


def test_this_and_the_next_n_and_no_more(run):
    async def main():
        w, call, task = await house()
        approval, standing = await agreed(w, call, task, count=2)
        assert (await send(w, call, task)).approval == approval.id  # the one that was shown uses its own yes
        for left in (1, 0):
            found = await send(w, call, task)
            assert isinstance(found, Permit) and found.approval == standing.id
            assert (await w.store.get(StandingYes, standing.id)).left == left
        assert isinstance(await send(w, call, task), Hold)
        leaves = b"".join(leaf for leaf, _ in w.store._events).decode()
        assert leaves.count(f'"approval":"{standing.id}"') == 2 and '"again":{"count":2' in leaves

    run(main())


def test_two_callers_do_not_use_the_same_one(run):
    import asyncio

    async def main():
        w, call, task = await house()
        _, standing = await agreed(w, call, task, count=3)
        found = await asyncio.gather(*(send(w, call, task) for _ in range(8)))
        assert sum(isinstance(f, Permit) for f in found) == 4
        assert (await w.store.get(StandingYes, standing.id)).left == 0

    run(main())


@pytest.mark.parametrize(
    ("released", "other", "passes"),
    [
        ((), {}, True),
        ((), {"amount": "99.99"}, False),
        ((), {"body": "other"}, False),
        ((), {"to": "eve"}, False),
        ((), {"customer": "globex"}, False),
        (("amount",), {"amount": "99.99"}, True),
        (("amount",), {"amount": "100"}, True),
        (("amount",), {"amount": "0"}, True),
        (("amount",), {"amount": "100.01"}, False),
        (("amount",), {"amount": "-5"}, False),
        (("amount",), {"amount": "99.99", "to": "eve"}, False),
        (("body",), {"body": "other"}, True),
        (("body",), {"body": "other", "amount": "1"}, False),
        (("amount", "body"), {"body": "other", "amount": "1"}, True),
    ],
)
def test_what_may_differ_is_what_was_released(run, released, other, passes):
    async def main():
        w, call, task = await house()
        _, standing = await agreed(w, call, task, released=released)
        found = await send(w, call, task, **other)
        if other:
            covered = isinstance(found, Permit) and found.approval == standing.id
            assert covered is passes, found
        else:
            assert isinstance(found, Permit)

    run(main())


@pytest.mark.parametrize(
    ("again", "field"),
    [
        (Again(6, 60_000), "count"),
        (Again(1, 15 * 60_000 + 1), "until"),
        (Again(1, 60_000, ("nothing",)), "released"),
        (Again(1, 60_000, ("to",)), "released"),
        (Again(1, 60_000, ("customer",)), "released"),
    ],
)
def test_terms_that_nobody_may_agree_to(run, again, field):
    async def main():
        w, call, task = await house()
        approval = await w.store.get(Approval, (await send(w, call, task)).approval)
        terms = replace(again, until=w.clock.now + again.until)
        with pytest.raises(BadField, match=field):
            await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True, again=terms))
        w, call, task = await house("standing = 0")
        approval = await w.store.get(Approval, (await send(w, call, task)).approval)
        with pytest.raises(BadField, match="allows no standing yes"):
            given = Given(approval.digest, True, again=Again(1, w.clock.now + 1))
            await answer(w.env, w.person("frank"), approval.id, given)

    run(main())


def test_what_cannot_be_undone_is_agreed_to_one_by_one(run):
    async def main():
        hold = HOLD.replace('action == Remit::Action::"send"', 'action in Remit::Action::"call"')
        w, call, task = await house(hold=hold)
        pay = Access(task.id, "pay", {"customer": "acme", "invoice": 1, "amount": "1"})
        approval = await w.store.get(Approval, (await decide(w.env, call, pay)).approval)
        with pytest.raises(BadField, match="one by one"):
            given = Given(approval.digest, True, again=Again(1, w.clock.now + 1))
            await answer(w.env, w.person("frank"), approval.id, given)

    run(main())


ENDS = {
    "its time": lambda w, task, s: later(w, 60_000),
    "taken back by who agreed": lambda w, task, s: consult.take_back(w.env, w.person("frank"), s.id, "enough"),
    "taken back by an operator": lambda w, task, s: consult.take_back(w.env, operator(w), s.id, ""),
    "another policy": lambda w, task, s: apply(w.env, operator(w), files(hold=HOLD + '@id("x") permit (principal, action, resource);')),
    "another tool": lambda w, task, s: apply(w.env, operator(w), {**files(), "tools/send.toml": 'title = "Send"' + SEND}),
    "darker things were read": lambda w, task, s: decide(w.env, w.agent, Access(task.id, "list", {"customer": "acme"})),
    "something untrusted was read": lambda w, task, s: decide(w.env, w.agent, Access(task.id, "inbox", {})),
}  # fmt: skip


def operator(w):
    return w.call(CallerKind.OPERATOR, "op")


async def later(w, ms):
    w.clock.advance(ms)


@pytest.mark.parametrize("what", ENDS)
def test_what_ends_it(run, what):
    async def main():
        w, call, task = await house()
        _, standing = await agreed(w, call, task)
        w.agent = call
        await ENDS[what](w, task, standing)
        await send(w, call, task)  # its own yes, if that still holds
        assert isinstance(await send(w, call, task), Hold)
        row = await w.store.get(StandingYes, standing.id)
        assert row.left == 3

    run(main())


def test_held_for_another_reason_is_asked_again(run):
    async def main():
        w, call, task = await house("standing = 9")
        await agreed(w, call, task, count=9)
        for _ in range(6):
            assert isinstance(await send(w, call, task), Permit)
        found = await send(w, call, task)  # the sixth call: a policy that nobody was shown holds it too
        assert isinstance(found, Hold) and [why.policy for why in found.why] == ["hold-late", "hold-send"]

    run(main())


def test_a_value_that_turns_out_worse_is_asked_again(run):
    async def main():
        w, call, task = await house()
        await decide(w.env, call, Access(task.id, "inbox", {}))
        approval, standing = await agreed(w, call, task, released=("body",))
        assert {one.argument: one.origin for one in approval.shown.origins}["to"] == "invented"
        await observe(w.env, w.call(CallerKind.ENFORCER, "gate"), task.id, "inbox", [{"from": "ann"}])
        found = await send(w, call, task)
        assert isinstance(found, Hold)
        use = replace_use(standing)
        assert standing.misfit(use, w.clock.now) == ""
        for wrong, why in (
            ({"provenance": replace(use.provenance, carried=Traced(Origin.UNTRUSTED))}, "carries"),
            ({"provenance": replace(use.provenance, arguments={"new": Traced(Origin.STATED)})}, "worse"),
            ({"arguments": {"to": "ann"}}, "other arguments"),
            ({"resource": "customer/globex"}, "another tool"),
            ({"held_by": ("unknown",)}, "another reason"),
            ({"policy_revision": "x"}, "another tool"),
        ):
            assert why in standing.misfit(replace(use, **wrong), w.clock.now)
        irreversible = replace(use.tool, effect=type(use.tool.effect).IRREVERSIBLE)
        assert "cannot be undone" in standing.misfit(replace(use, tool=irreversible), w.clock.now)
        carrying = replace(standing, shown=replace(standing.shown, carries="invented"))
        provenance = replace(use.provenance, carried=Traced(Origin.TRUSTED))
        assert carrying.misfit(replace(use, provenance=provenance), w.clock.now) == ""
        with pytest.raises(WrongState):
            standing.ended(1, "x").used(2)

    def replace_use(standing):
        from remit.domain.flow import Label, Sensitivity, Trust
        from remit.domain.standing_yes import Use
        from remit.formats.catalogue import parse

        tool = parse(files()).tools["send"]
        label = Label(Trust[standing.shown.trust.upper()], Sensitivity[standing.shown.sensitivity.upper()])
        return Use(
            tool, standing.shown.resource, ARGUMENTS, NOTHING_TRACED, label, standing.policy_revision, ("hold-send",)
        )

    run(main())


def test_everybody_who_must_agree_must_agree_to_the_same_terms(run):
    async def main():
        hold = HOLD.replace('@approvers("finance") forbid', '@approvers("finance") @quorum("2") forbid')
        w, call, task = await house(hold=hold)
        _, standing = await agreed(w, call, task, people=("frank", "gina"))
        assert standing.people == ("frank", "gina")
        w, call, task = await house(hold=hold)
        approval = await w.store.get(Approval, (await send(w, call, task)).approval)
        until = w.clock.now + 1000
        await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True, again=Again(3, until)))
        granted = await answer(w.env, w.person("gina"), approval.id, Given(approval.digest, True))
        assert granted.state is ApprovalState.GRANTED
        assert await w.store.find(StandingYes, {"task": task.id}) == []

    run(main())


def test_it_ends_with_its_task_and_with_a_freeze(run):
    async def main():
        for how in ("end", "freeze"):
            w, call, task = await house()
            _, standing = await agreed(w, call, task)
            if how == "end":
                await end_task(w.env, call, task.id, "done")
            else:
                await freeze(w.env, operator(w), Reach.OWNER, "olga", "odd")
            found = await send(w, call, task)
            assert found.why[0].reason.value == ("task_not_open" if how == "end" else "agent_frozen")
            await end_leases(w.env, w.clock.now)
            row = await w.store.get(StandingYes, standing.id)
            assert (row.open, row.end_reason) == (False, "its task ended")
            assert "StandingYesEnded" in w.events()
            if how == "freeze":
                await unfreeze(w.env, operator(w), Reach.OWNER, "olga", "fine")
                assert (await send(w, call, task)).why[0].reason.value == "task_not_open"

    run(main())


def test_a_no_grants_nothing_and_another_task_has_its_own(run):
    async def main():
        w, call, task = await house()
        _, standing = await agreed(w, call, task)
        second = await w.task(call)
        assert isinstance(await send(w, call, second), Hold)
        approval = await w.store.get(Approval, (await send(w, call, second)).approval)
        given = Given(approval.digest, False, again=Again(1, w.clock.now + 1000))
        refused = await answer(w.env, w.person("frank"), approval.id, given)
        assert refused.state is ApprovalState.REFUSED and not refused.again
        assert len(await w.store.find(StandingYes, {})) == 1
        for stranger in (w.person("gina"), w.call(CallerKind.AUDITOR, "frank")):
            with pytest.raises(Absent):
                await consult.take_back(w.env, stranger, standing.id, "x")
        await consult.take_back(w.env, w.person("frank"), standing.id, "x")
        assert (await consult.take_back(w.env, w.person("frank"), standing.id, "y")).end_reason == "x"
        with pytest.raises((Denied, WrongState)):
            await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        assert (await w.store.get(Task, task.id)).open_at(w.clock.now)

    run(main())


def test_a_standing_yes_of_a_task_covers_nothing_below_it(run):
    """Nobody was shown what other agents would do with it."""

    async def main():
        rules = '[[delegations]]\nagents = ["other"]\npurposes = ["part"]\n'
        mine = files("standing = 5")
        whole = "max_depth = 1\n" + mine["purposes/pay.toml"] + rules
        part = mine["purposes/pay.toml"].replace('agents = ["bot"]', 'agents = ["other"]')
        w = await world(Between(), {**mine, "purposes/pay.toml": whole, "purposes/part.toml": part})
        _, call = await w.proved()
        task = await w.task(call)
        _, other = await w.proved("other")
        child = await below(w, call, task, other, purpose="part", max_calls=9)
        await agreed(w, call, task)
        assert isinstance(await send(w, call, task), Permit)
        for _ in range(2):
            assert isinstance(await send(w, other, child), Hold)
        assert isinstance(await send(w, call, task), Permit)

    run(main())
