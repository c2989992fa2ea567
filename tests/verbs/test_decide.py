"""Decide: every step's refusal, and the laws about approvals, revocation and budgets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain import events
from remit.domain.approval import Approval, ApprovalState
from remit.domain.caller import CallerKind
from remit.domain.change import Change
from remit.domain.decision import Access, Deny, Hold, Permit, word
from remit.domain.errors import Absent, BadField, Busy, Denied, StoreUnavailable, WrongState
from remit.domain.flow import Sensitivity
from remit.domain.freeze import Reach
from remit.domain.identity import Identity
from remit.domain.task import Task, TaskState
from remit.store.memory import MemoryStore
from remit.testing.store import FaultyStore
from remit.verbs.apply import apply
from remit.verbs.approve import Given, answer
from remit.verbs.decide import ROUNDS, decide
from remit.verbs.freeze import freeze, unfreeze
from remit.verbs.revoke import end_task
from remit.work.end_leases import end_leases
from tests.world import changed, world

LIST = {"customer": "acme"}
PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


def codes(decision):
    return [why.reason.value for why in decision.why]


def test_a_call_within_the_task_is_permitted_and_counted(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        found = await decide(w.env, call, Access(task.id, "list", LIST))
        assert isinstance(found, Permit)
        after = await w.store.get(Task, task.id)
        assert (after.calls, after.label.sensitivity, after.label.sources) == (1, Sensitivity.CONFIDENTIAL, ("list",))
        assert w.events()[-1] == "AccessDecided"

    run(main())


@pytest.mark.parametrize(
    ("access", "reason"),
    [
        (("nothing", {}), "tool_unknown"),
        (("ungranted", {}), "out_of_scope"),
        (("list", {"customer": "globex"}), "out_of_scope"),
        (("list", {}), "bad_arguments"),
        (("list", {"customer": "acme", "x": 1}), "bad_arguments"),
        (("list", {"customer": 5}), "bad_arguments"),
        (("list", {"customer": "acme/.."}), "bad_arguments"),
        (("list", {"customer": ""}), "bad_arguments"),
        (("pay", {**PAY, "amount": "500.01"}), "out_of_scope"),
        (("pay", {**PAY, "amount": "1e2"}), "bad_arguments"),
        (("pay", {**PAY, "invoice": "17"}), "bad_arguments"),
        (("pinned", {}), "tool_changed"),
    ],
)
def test_what_a_call_is_refused_for(run, access, reason):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        found = await decide(w.env, call, Access(task.id, *access))
        assert isinstance(found, Deny)
        assert codes(found) == [reason]
        assert (await w.store.get(Task, task.id)).calls == 0
        assert w.events()[-1] == "AccessDecided"

    run(main())


def test_a_pinned_tool_needs_exactly_its_pin(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        good = "sha256:" + "a" * 64
        assert isinstance(await decide(w.env, call, Access(task.id, "pinned", {}, good)), Permit)
        for pin in ("", good[:-1] + "b", good.upper()):
            assert codes(await decide(w.env, call, Access(task.id, "pinned", {}, pin))) == ["tool_changed"]

    run(main())


def test_reading_darkens_and_then_sending_is_denied(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        assert isinstance(await decide(w.env, call, Access(task.id, "mail")), Permit)
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
        found = await decide(w.env, call, Access(task.id, "mail"))
        assert isinstance(found, Deny)
        assert [why.policy for why in found.why] == ["no-mail-after-reading"]

    run(main())


def test_who_may_ask(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        _, stranger = await w.proved("other")
        _, second_key = await w.proved("bot")
        for caller in (stranger, second_key, w.person("olga")):
            with pytest.raises(Absent):
                await decide(w.env, caller, Access(task.id, "list", LIST))
        with pytest.raises(Absent):
            await decide(w.env, call, Access("tsk_nothing", "list", LIST))
        enforcer = w.call(CallerKind.ENFORCER, "gate")
        assert isinstance(await decide(w.env, enforcer, Access(task.id, "list", LIST)), Permit)

    run(main())


def test_nothing_stands_without_an_open_task(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        closed, late = await w.task(call), await w.task(call)
        await end_task(w.env, call, closed.id, "done")
        assert codes(await decide(w.env, call, Access(closed.id, "list", LIST))) == ["task_not_open"]
        w.clock.advance(15 * 60_000)
        later = replace(call, now=w.clock.now)
        assert codes(await decide(w.env, later, Access(late.id, "list", LIST))) == ["task_expired"]

    run(main())


def test_an_agent_frozen_stale_or_gone_is_refused(run):
    async def main():
        w = await world()
        identity, call = await w.proved()
        task = await w.task(call)
        operator = w.call(CallerKind.OPERATOR, "op")
        await freeze(w.env, operator, Reach.AGENT, "bot", "looks wrong")
        assert codes(await decide(w.env, call, Access(task.id, "list", LIST))) == ["agent_frozen"]
        await unfreeze(w.env, operator, Reach.AGENT, "bot", "it was fine")
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
        old = await w.store.get(Identity, identity.jkt)
        because = events.AgentProved("bot", "join_token", old.jkt, "", "", 0)
        await w.store.commit(Change(because, call).put(replace(old, expires_at=call.now), was=old))
        assert codes(await decide(w.env, call, Access(task.id, "list", LIST))) == ["identity_stale"]
        files = {name: text for name, text in changed().items() if name != "agents/bot.toml"}
        files["purposes/pay.toml"] = files["purposes/pay.toml"].replace('"bot"', '"other"')
        files["purposes/asked.toml"] = files["purposes/asked.toml"].replace('"bot"', '"other"')
        await apply(w.env, operator, files)
        assert codes(await decide(w.env, call, Access(task.id, "list", LIST))) == ["agent_unknown"]

    run(main())


def test_a_changed_purpose_ends_what_was_granted_under_the_old_one(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        files = changed()
        files["purposes/pay.toml"] = files["purposes/pay.toml"].replace("max_calls = 5", "max_calls = 6")
        await apply(w.env, w.call(CallerKind.OPERATOR, "op"), files)
        assert codes(await decide(w.env, call, Access(task.id, "list", LIST))) == ["purpose_superseded"]

    run(main())


def test_the_budget_is_spent_exactly(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        found = await asyncio.gather(*(decide(w.env, call, Access(task.id, "list", LIST)) for _ in range(12)))
        assert sorted(map(word, found)) == ["deny"] * 7 + ["permit"] * 5
        assert {code for f in found if isinstance(f, Deny) for code in codes(f)} == {"budget_spent"}

    run(main())


async def held(w, call, task, arguments=PAY):
    found = await decide(w.env, call, Access(task.id, "pay", arguments))
    assert isinstance(found, Hold), found
    return await w.store.get(Approval, found.approval)


def test_an_approval_is_for_exactly_what_was_shown_once(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        approval = await held(w, call, task)
        assert approval.shown.arguments == '{"amount":"120.00","customer":"acme","invoice":17}'
        assert "cannot be undone; finance must agree" in " ".join(approval.shown.why)
        assert (await held(w, call, task)).id == approval.id  # retries share one record
        with pytest.raises(BadField):
            await answer(w.env, w.person("frank"), approval.id, Given(approval.access, True))
        granted = await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True, "ok"))
        assert granted.state is ApprovalState.GRANTED
        for other in ({**PAY, "amount": "120.01"}, {**PAY, "invoice": 18}):
            assert (await held(w, call, task, other)).id != approval.id
        second = await w.task(call)
        assert (await held(w, call, second)).id != approval.id
        found = await decide(w.env, call, Access(task.id, "pay", PAY))
        assert isinstance(found, Permit) and found.approval == approval.id
        assert (await w.store.get(Approval, approval.id)).state is ApprovalState.USED
        again = await held(w, call, task)
        assert again.id != approval.id and again.round == 1

    run(main())


def test_of_two_callers_with_one_approval_exactly_one_acts(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        approval = await held(w, call, task)
        await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        found = await asyncio.gather(*(decide(w.env, call, Access(task.id, "pay", PAY)) for _ in range(8)))
        assert sorted(map(word, found)) == ["hold"] * 7 + ["permit"]

    run(main())


def test_many_asking_at_once_share_one_record(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        found = await asyncio.gather(*(decide(w.env, call, Access(task.id, "pay", PAY)) for _ in range(8)))
        assert len({f.approval for f in found}) == 1
        assert len(await w.store.find(Approval, {"task": task.id})) == 1

    run(main())


def test_a_new_policy_revision_voids_an_approval(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        approval = await held(w, call, task)
        await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        files = changed()
        files["policies/default.cedar"] += (
            '@id("another") forbid (principal, action, resource) when { context.hour > 30 };'
        )
        await apply(w.env, w.call(CallerKind.OPERATOR, "op"), files)
        assert (await held(w, call, task)).id != approval.id

    run(main())


def test_a_granted_approval_does_not_lift_what_else_forbids(run):
    async def main():
        files = changed()
        files["policies/default.cedar"] += (
            '@id("late") forbid (principal, action == Remit::Action::"pay", resource) when { context.calls >= 1 };'
        )
        w = await world(files=files)
        _, call = await w.proved()
        task = await w.task(call)
        approval = await held(w, call, task)
        await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        await decide(w.env, call, Access(task.id, "list", LIST))
        found = await decide(w.env, call, Access(task.id, "pay", PAY))
        assert isinstance(found, Deny)
        assert (await w.store.get(Approval, approval.id)).state is ApprovalState.GRANTED

    run(main())


def test_a_no_stands_for_the_task(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        approval = await held(w, call, task)
        await answer(w.env, w.person("gina"), approval.id, Given(approval.digest, False))
        found = await decide(w.env, call, Access(task.id, "pay", PAY))
        assert codes(found) == ["approval_refused"] and "gina said no" in found.why[0].sentence

    run(main())


def test_what_nobody_answered_in_time_is_denied_for_this_task(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        approval = await held(w, call, task)
        w.clock.advance(10 * 60_000)
        later = replace(call, now=w.clock.now)
        for _ in range(2):  # before it was closed, and after
            found = await decide(w.env, later, Access(task.id, "pay", PAY))
            assert codes(found) == ["nobody_answered"]
            with pytest.raises(WrongState):
                await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
            await end_leases(w.env, w.clock.now)
        assert (await w.store.get(Approval, approval.id)).state is ApprovalState.EXPIRED
        again = await held(w, later, await w.task(call))
        assert again.id != approval.id

    run(main())


def test_a_yes_that_nobody_used_in_time_is_asked_for_again(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        approval = await held(w, call, task)
        await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        w.clock.advance(10 * 60_000)
        again = await held(w, replace(call, now=w.clock.now), task)
        assert (again.id != approval.id, again.round) == (True, 1)

    run(main())


def test_who_may_answer(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        approval = await held(w, call, task)
        for name in ("dana", "olga"):
            with pytest.raises(Denied):
                await answer(w.env, w.person(name), approval.id, Given(approval.digest, True))
        for bad in ((w.person("nobody"), approval.id), (w.person("frank"), "apv_nothing")):
            with pytest.raises(Absent):
                await answer(w.env, *bad, Given(approval.digest, True))
        with pytest.raises(BadField):
            await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True, "x" * 2001))
        await end_task(w.env, call, task.id, "done")
        with pytest.raises(WrongState):
            await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))

    run(main())


def test_two_answers_at_once_are_both_kept_or_one_conflicts(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        task = await w.task(call)
        approval = await held(w, call, task)
        people = [w.person("frank"), w.person("gina")]
        results = await asyncio.gather(
            *(answer(w.env, p, approval.id, Given(approval.digest, True)) for p in people), return_exceptions=True
        )
        kept = await w.store.get(Approval, approval.id)
        assert len(kept.answers) == sum(isinstance(r, Approval) for r in results) == 1

    run(main())


class Meddling(FaultyStore):
    """Lets something else happen between the reads of a verb and its commit."""

    meddle = None
    busy = False

    async def commit(self, change):
        meddle, self.meddle = self.meddle, self.meddle if self.busy else None
        if meddle is not None and not getattr(self, "_inside", False):
            self._inside = True
            try:
                await meddle()
            finally:
                self._inside = False
        return await self.inner.commit(change)


@pytest.mark.parametrize("what", ["revoke", "freeze", "apply"])
def test_no_permit_is_committed_after_what_forbids_it(run, what):
    """Law 6: the revocation lands after the decision has read everything, and before it commits."""

    async def main():
        store = Meddling(MemoryStore())
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        operator = w.call(CallerKind.OPERATOR, "op")

        async def meddle():
            if what == "revoke":
                await end_task(w.env, operator, task.id, "stop")
            elif what == "freeze":
                await freeze(w.env, operator, Reach.AGENT, "bot", "stop")
            else:
                files = changed()
                files["policies/default.cedar"] += '@id("stop") forbid (principal, action, resource);'
                await apply(w.env, operator, files)

        store.meddle = meddle
        found = await decide(w.env, call, Access(task.id, "list", LIST))
        assert isinstance(found, Deny)
        assert (await w.store.get(Task, task.id)).calls == 0

    run(main())


def test_a_permit_that_was_not_durable_does_not_leave(run):
    async def main():
        store = FaultyStore(MemoryStore())
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        for fault in ("lost", "persisted"):
            store.faults = [fault]
            with pytest.raises(StoreUnavailable):
                await decide(w.env, call, Access(task.id, "list", LIST))

    run(main())


def test_losing_for_ever_is_busy_not_permitted(run):
    async def main():
        store = Meddling(MemoryStore())
        w = await world(store)
        _, call = await w.proved()
        task = await w.task(call)
        rounds = []

        async def meddle():
            rounds.append(1)
            row = await store.inner.get(Task, task.id)
            because = events.TaskSettled(task.id, 0)
            await store.inner.commit(Change(because, call).put(row, was=row))

        store.meddle, store.busy = meddle, True
        with pytest.raises(Busy):
            await decide(w.env, call, Access(task.id, "list", LIST))
        assert len(rounds) == ROUNDS
        assert (await w.store.get(Task, task.id)).state is TaskState.OPEN

    run(main())
