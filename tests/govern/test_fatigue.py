"""How people answer, counted from the log: once each, from where it stopped, and with what is wrong said first."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from remit.domain.approval import Approval
from remit.domain.decision import Access
from remit.govern import fatigue
from remit.govern.fatigue import Fatigue, Tally
from remit.verbs.approve import Given, answer
from remit.verbs.decide import decide
from remit.work.end_leases import end_leases
from remit.work.sequence import sequence
from tests.world import FILES, world

QUORUM = """
@id("within") permit (principal, action, resource);
@id("hold-pay") @approvers("finance") @quorum("2") forbid (principal, action == Remit::Action::"pay", resource)
unless { context.approved };
"""


async def asks(w, call, number, *answers, after=500):
    """One held call in a task of its own, and who says what to it."""
    task = await w.task(call)
    access = Access(task.id, "pay", {"customer": "acme", "invoice": number, "amount": "1"})
    for _ in range(2):  # asking twice is one request
        hold = await decide(w.env, replace(call, now=w.clock.now), access)
    approval = await w.store.get(Approval, hold.approval)
    for person, yes in answers:
        w.clock.advance(after)
        await answer(w.env, w.person(person), approval.id, Given(approval.digest, yes))
    while await sequence(w.store, w.env.signer, "test/log"):
        pass


def test_each_event_is_counted_once_whoever_asks_and_however_often(run):
    async def main():
        w = await world()
        _, call = await w.proved()
        found = Fatigue()
        await found.read(w.store)
        assert (found.holds_per_task, found.shown()["behind"], found.person("frank").rate) == (None, 0, None)
        for number in range(6):
            await asks(w, call, number, ("frank", True))
        await asks(w, call, 7, ("gina", False))
        await asyncio.gather(*(found.read(w.store) for _ in range(5)))
        shown = found.shown()
        assert (shown["tasks"], shown["holds_per_task"], shown["most_holds_of_one_task"]) == (7, 1.0, 1)
        assert (shown["all"]["asked"], shown["all"]["yes"], shown["all"]["no"]) == (7, 6, 1)
        frank, gina = shown["people"]
        assert (frank["person"], frank["yes_rate"], frank["median_ms"]) == ("frank", 1.0, 500)
        assert "always yes, in 0.5 s: nobody reads it" in frank["problem"] and gina["problem"] == ""
        (policy,) = shown["policies"]
        assert (policy["policy"], policy["yes_rate"], policy["problem"]) == ("hold-irreversible", 6 / 7, "")
        await asks(w, call, 8, ("frank", True))
        await found.read(w.store)
        assert found.all.yes == 7

    run(main())


def test_a_quorum_is_one_request_and_what_nobody_answers_is_counted(run):
    async def main():
        w = await world(files={**FILES, "policies/default.cedar": QUORUM})
        _, call = await w.proved()
        await asks(w, call, 1, ("frank", True), ("gina", True), after=3000)
        await asks(w, call, 2)
        w.clock.advance(20 * 60_000)
        await end_leases(w.env, w.clock.now)
        while await sequence(w.store, w.env.signer, "test/log"):
            pass
        found = Fatigue()
        await found.read(w.store)
        assert (found.all.asked, found.all.yes, found.all.expired) == (2, 2, 1)
        assert found.policies["hold-pay"].median == 4500
        assert [found.person(name).median for name in ("frank", "gina")] == [3000, 6000]

    run(main())


def test_a_long_log_is_read_in_parts(run, monkeypatch):
    monkeypatch.setattr(fatigue, "PAGE", 3)
    monkeypatch.setattr(fatigue, "AT_MOST", 2)

    async def main():
        w = await world()
        _, call = await w.proved()
        await asks(w, call, 1, ("frank", True))
        found = Fatigue()
        await found.read(w.store)
        assert found.behind > 0
        while found.behind:
            await found.read(w.store)
        assert (found.tasks, found.all.yes) == (1, 1)

    run(main())


def test_what_is_never_answered_is_a_problem_too():
    tally = Tally(asked=30, yes=4, no=1, expired=25)
    assert "never answered" in tally.problem()
    assert Tally(asked=9, yes=4, no=1, expired=4).problem() == "" == Tally(yes=4).problem()
