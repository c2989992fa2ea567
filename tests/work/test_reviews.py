"""A review shows what an agent may do and did; an answer is to exactly that, and takes away or keeps, and never adds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from remit.domain.accountability import DAY, Terms
from remit.domain.caller import CallerKind
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.decision import Access, Deny, Permit
from remit.domain.errors import Absent, BadField, Conflict, Denied, WrongState
from remit.domain.freeze import Reach
from remit.domain.lease import Lease, LeaseState
from remit.domain.narrowing import Entitlement, Narrowing
from remit.domain.notice import Notice
from remit.domain.review import Review, ReviewState, Verdict, opened
from remit.formats.jcs import canonical, digest_of
from remit.govern.narrower import narrower
from remit.govern.review import shown
from remit.store.replay import replay
from remit.verbs import freeze as freezing
from remit.verbs import review as verb
from remit.verbs.apply import apply
from remit.verbs.decide import decide
from remit.verbs.depart import depart
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from remit.verbs.seal import seal
from remit.work.notify import notify
from remit.work.redecide import redecide
from remit.work.sequence import sequence
from remit.work.tend_reviews import tend_reviews
from tests.delegating import CATALOGUE, Between, below
from tests.world import FILES, changed, world

BOT = 'owner = "olga"\ndeputy = "gina"\nescalation = ["finance"]\n[[attestations]]\nmethod = "join_token"\n'
LIST = {"customer": "acme"}


def files(more="", **others):
    return changed(remit_dot_toml=FILES["remit.toml"] + more, **{"agents__bot_dot_toml": BOT, **others})


def operator(w):
    return w.call(CallerKind.OPERATOR, "op")


async def house(more="", began="dana", **others):
    w = await world(Between(), files(more, **others))
    _, call = await w.proved()
    by = Principal(PrincipalKind.PERSON, began) if began else None
    task = await propose(w.env, call, Proposal("pay", "goal", LIST), by)
    assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
    await log(w)
    w.clock.now += 1000
    await verb.open_review(w.env, operator(w), "bot")
    return w, replace(call, now=w.clock.now), task


async def log(w):
    while await sequence(w.store, w.env.signer, "remit.test/log"):
        pass


async def look(w, upto=0, agent="bot"):
    await log(w)
    return await shown(w.env, w.store, await w.store.get(Review, agent), upto)


async def answer(w, who, verdict, seen=None, **more):
    seen = seen or await look(w)
    given = verb.Reviewed(more.pop("digest", seen.digest), verdict, **more)
    return await verb.answer(w.env, w.person(who), "bot", given, seen.covers)


def test_it_shows_what_is_granted_what_was_used_and_who_began_it(run):
    async def main():
        w, _, _ = await house()
        facts = (await look(w)).facts
        may = {(one["purpose"], one["kind"], one["name"]): one for one in facts["may"]}
        assert may["pay", "tool", "list"]["permit"] == 1 and not may["pay", "tool", "list"]["unused"]
        assert may["pay", "tool", "pay"]["unused"] and may["pay", "credential", "db"]["unused"]
        assert may["asked", "tool", "list"]["unused"]  # by another purpose
        assert facts["began"] == {"dana": 1} and facts["tasks"] == 1 and facts["findings"] == []
        await apply(w.env, operator(w), files(agents__bot_dot_toml='title = "x"\n' + BOT))
        assert (await look(w)).facts["changes"][0]["lines"] == ["~ agent bot: title"]

    run(main())


def test_the_same_place_of_the_log_gives_the_same_bytes(run):
    async def main():
        w, call, task = await house()
        first = await look(w)
        await decide(w.env, call, Access(task.id, "list", LIST))
        again, now = await look(w, first.upto), await look(w)
        assert again.digest == first.digest and now.digest != first.digest
        assert (await answer(w, "olga", Verdict.KEEP, again)).state is ReviewState.ANSWERED

    run(main())


def test_narrowed_it_may_do_what_it_used_and_nothing_else_at_once(run):
    async def main():
        w, call, task = await house()
        minted = await issue(w.env, call, task.id, "db")
        await verb.answer(w.env, w.person("olga"), "bot", *(await _narrow(w, without_db=False)))
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
        denied = await decide(w.env, call, Access(task.id, "mail", {}))
        assert isinstance(denied, Deny) and denied.why[0].reason.value == "out_of_scope"
        assert denied.why[0].sentence == "A review took mail away from bot."
        with pytest.raises(Denied, match="took secret away"):
            await issue(w.env, call, task.id, "secret")
        assert (await w.store.get(Lease, minted[0].id)).state is LeaseState.LIVE  # it used that
        frozen = await w.env.frozen()
        assert frozen.narrowed == ("bot",) and not frozen.freezes
        assert not await replay(w.store)

    run(main())


async def _narrow(w, without_db=True):
    seen = await look(w)
    assert any(held.name == "db" for held in seen.unused) is without_db
    return verb.Reviewed(seen.digest, Verdict.NARROW), seen.covers


def test_a_credential_that_is_taken_away_dies_and_its_task_goes_on(run):
    async def main():
        w, call, task = await house()
        seen = await look(w)
        lease, _ = await issue(w.env, call, task.id, "db")
        given = verb.Reviewed(seen.digest, Verdict.NARROW)
        await verb.answer(w.env, w.person("olga"), "bot", given, (await look(w, seen.upto)).covers)
        while await redecide(w.env, w.clock.now):
            pass
        assert (await w.store.get(Lease, lease.id)).state is not LeaseState.LIVE
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)

    run(main())


def test_what_is_taken_from_whoever_handed_on_is_taken_below(run):
    """The scope of a chain is never wider than any hop (law 2), whatever narrowed that hop."""

    async def main():
        w = await world(Between(), CATALOGUE)
        _, call = await w.proved()
        _, other = await w.proved("other")
        task = await propose(w.env, call, Proposal("lead", "goal", LIST))
        child = await below(w, call, task, other)
        assert isinstance(await decide(w.env, other, Access(child.id, "list", LIST)), Permit)
        await log(w)
        await verb.open_review(w.env, operator(w), "bot")
        seen = await look(w)
        assert not [held for held in seen.unused if held.purpose == "lead"]  # what is below it may use all of it
        facts = seen.facts
        for one in facts["may"]:
            one["unused"] = one["purpose"] == "lead"
        covers = canonical(facts).decode()
        given = verb.Reviewed(digest_of(covers.encode()), Verdict.NARROW)
        await verb.answer(w.env, w.person("olga"), "bot", given, covers)
        assert isinstance(await decide(w.env, other, Access(child.id, "list", LIST)), Deny)
        with pytest.raises(Denied):
            await issue(w.env, other, child.id, "db")

    run(main())


def test_no_permit_is_committed_after_it_was_narrowed(run):
    async def main():
        w, call, task = await house()
        given, covers = await _narrow(w)

        async def between():
            await verb.answer(w.env, w.person("olga"), "bot", given, covers)

        w.store.between = between
        assert isinstance(await decide(w.env, call, Access(task.id, "mail", {})), Deny)

    run(main())


@pytest.mark.parametrize(
    ("who", "verdict", "wanted"),
    [
        ("frank", Verdict.KEEP, ""),
        ("gina", Verdict.KEEP, ""),
        ("olga", Verdict.KEEP, ""),
        ("dana", Verdict.KEEP, "absent"),
        ("nobody", Verdict.RETIRE, "absent"),
    ],
)
def test_only_those_who_answer_for_it_answer(run, who, verdict, wanted):
    async def main():
        w, _, _ = await house()
        if wanted:
            with pytest.raises(Absent):
                await answer(w, who, verdict)
            assert (await w.store.get(Review, "bot")).waits
        else:
            assert (await answer(w, who, verdict)).person == who

    run(main())


def test_nobody_keeps_for_themselves_what_they_used(run):
    async def main():
        w, _, _ = await house(began="olga")
        with pytest.raises(Denied, match="somebody else has to keep it") as no:
            await answer(w, "olga", Verdict.KEEP)
        assert no.value.reasons == ("own_review",)
        assert (await answer(w, "olga", Verdict.NARROW)).verdict == "narrow"
        w, _, _ = await house("[reviews]\nalone = true\n", began="olga")
        assert (await answer(w, "olga", Verdict.KEEP)).verdict == "keep"

    run(main())


@pytest.mark.parametrize("how", ["digest", "catalogue", "covers", "twice"])
def test_an_answer_to_something_else_is_none(run, how):
    async def main():
        w, _, _ = await house()
        seen = await look(w)
        match how:
            case "digest":
                with pytest.raises(BadField, match="not of what there is to see"):
                    await answer(w, "olga", Verdict.KEEP, seen, digest="sha256:" + "0" * 64)
            case "covers":
                forged = replace(seen, covers=seen.covers.replace('"permit":1', '"permit":2'))
                with pytest.raises(BadField):
                    await answer(w, "olga", Verdict.KEEP, forged, digest=seen.digest)
            case "catalogue":
                await apply(w.env, operator(w), files(agents__bot_dot_toml='tier = "autonomous"\n' + BOT))
                with pytest.raises(BadField):
                    await answer(w, "olga", Verdict.KEEP, await look(w, seen.upto), digest=seen.digest)
            case "twice":
                await answer(w, "olga", Verdict.KEEP, seen)
                with pytest.raises(WrongState):
                    await answer(w, "gina", Verdict.RETIRE)

    run(main())


@pytest.mark.parametrize("how", ["removed", "left", "answered"])
def test_who_is_removed_between_shown_and_answered_answers_nothing(run, how):
    async def main():
        w, _, _ = await house()
        seen = await look(w)

        async def between():
            match how:
                case "removed":
                    await apply(w.env, operator(w), files(agents__bot_dot_toml=BOT.replace('deputy = "gina"\n', "").replace("finance", "billing")))  # fmt: skip
                case "left":
                    await depart(w.env, operator(w), "gina", "left")
                case "answered":
                    await answer(w, "olga", Verdict.KEEP, seen)

        w.store.between = between
        with pytest.raises(Conflict):
            await answer(w, "gina", Verdict.RETIRE, seen)
        with pytest.raises((Absent, WrongState)):
            await answer(w, "gina", Verdict.RETIRE)
        assert not (await w.env.frozen()).freezes

    run(main())


def test_retired_it_is_frozen_and_kept_it_has_back_what_was_taken(run):
    async def main():
        w, call, _ = await house()
        await answer(w, "olga", Verdict.NARROW)
        await verb.open_review(w.env, operator(w), "bot", "again")
        with pytest.raises(WrongState):
            await verb.open_review(w.env, operator(w), "bot")
        assert {Entitlement(**one) for one in (await look(w)).facts["without"]} == set(
            (await w.env.narrowing("bot")).without
        )
        await answer(w, "gina", Verdict.KEEP)
        assert (await w.env.frozen()).narrowed == () and not (await w.env.narrowing("bot")).without
        await verb.open_review(w.env, operator(w), "bot")
        await answer(w, "gina", Verdict.RETIRE)
        assert (await w.env.frozen()).found(Reach.AGENT, "bot").reason == "gina reviewed it: retire"
        await verb.open_review(w.env, operator(w), "bot")
        await answer(w, "gina", Verdict.RETIRE)  # it is frozen already
        await freezing.unfreeze(w.env, w.person("gina"), Reach.AGENT, "bot", "not yet")
        assert call and not await replay(w.store)

    run(main())


def test_nobody_answers_so_it_is_narrower_then_stopped_at_the_times_it_was_said(run):
    async def main():
        w, call, _ = await house("[reviews]\ndue = '2d'\nnarrow_after = '1d'\nfreeze_after = '3d'\n")
        row, start = await w.store.get(Review, "bot"), w.clock.now
        assert [at - start for at in (row.due_at, row.narrow_at, row.freeze_at)] == [2 * DAY, 3 * DAY, 6 * DAY]
        w.clock.now = row.narrow_at - 1
        await log(w)
        assert not await tend_reviews(w.env, w.store, w.clock.now)
        w.clock.now += 1
        assert await tend_reviews(w.env, w.store, w.clock.now)
        without = (await w.env.narrowing("bot")).without
        assert Entitlement("pay", "tool", "mail") in without and Entitlement("pay", "tool", "list") not in without
        assert (await w.store.get(Review, "bot")).waits and not (await w.env.frozen()).freezes
        w.clock.now = row.freeze_at
        await tend_reviews(w.env, w.store, w.clock.now)
        assert (await w.env.frozen()).found(Reach.AGENT, "bot").reason == "nobody answered its review"
        assert (await w.store.get(Review, "bot")).state is ReviewState.FROZEN
        assert not await tend_reviews(w.env, w.store, w.clock.now)
        assert (await answer(w, "olga", Verdict.NARROW)).state is ReviewState.ANSWERED  # the freeze stays
        assert (await w.env.frozen()).freezes and call

    run(main())


def test_reviews_open_by_themselves_as_often_as_it_says(run):
    async def main():
        w = await world(Between(), files(agents__bot_dot_toml='review_every = "30d"\n' + BOT))
        await tend_reviews(w.env, w.store, w.clock.now)
        assert [row.agent for row in await w.store.find(Review, {}, limit=9)] == ["bot"]
        await answer(w, "olga", Verdict.KEEP)
        w.clock.now += 30 * DAY - 1
        assert not await tend_reviews(w.env, w.store, w.clock.now)
        w.clock.now += 1
        await tend_reviews(w.env, w.store, w.clock.now)
        assert (await w.store.get(Review, "bot")).round == 2 and (await w.store.get(Review, "bot")).waits
        less = {name: text for name, text in files().items() if name != "agents/bot.toml"}
        less = {name: text.replace('agents = ["bot"]', 'agents = ["other"]') for name, text in less.items()}
        await apply(w.env, operator(w), less)
        w.clock.now += 60 * DAY
        await tend_reviews(w.env, w.store, w.clock.now)
        row = await w.store.get(Review, "bot")
        assert not row.waits and not row.due and not (await w.env.frozen()).freezes

    run(main())


def test_the_proposed_change_takes_out_what_was_never_used_and_then_nothing_is_taken_away(run):
    async def main():
        w, call, _ = await house()
        await answer(w, "olga", Verdict.NARROW)
        await log(w)
        gone = (await w.env.narrowing("bot")).without
        found = await narrower(w.env, w.store, await w.store.get(Review, "bot"), gone)
        text = found["files"]["purposes/pay.toml"]
        assert 'tool = "list"' in text and 'tool = "mail"' not in text and "[parameters.customer]" in text
        assert found["diff"].startswith("--- a/purposes/pay.toml")
        assert found["kept"] == ["asked: nobody else has it, so remove its file if nobody wants it."]
        await apply(w.env, operator(w), {**files(), **found["files"], "purposes/asked.toml": FILES["purposes/asked.toml"].replace('"bot"', '"other"')})  # fmt: skip
        await tend_reviews(w.env, w.store, w.clock.now)
        assert (await w.env.frozen()).narrowed == () and call

    run(main())


def test_what_others_of_the_purpose_use_stays_in_it(run):
    async def main():
        both = FILES["purposes/pay.toml"].replace('agents = ["bot"]', 'agents = ["bot", "other"]')
        w, _, _ = await house(purposes__pay_dot_toml=both)
        _, other = await w.proved("other")
        task = await propose(w.env, other, Proposal("pay", "goal", LIST))
        await decide(w.env, other, Access(task.id, "mail", {}))
        await answer(w, "olga", Verdict.NARROW)
        gone = (await w.env.narrowing("bot")).without
        assert Entitlement("pay", "tool", "mail") in gone
        found = await narrower(w.env, w.store, await w.store.get(Review, "bot"), gone)
        assert "pay tool:mail: other agents of this purpose use it." in found["kept"]
        assert 'tool = "mail"' in found["files"]["purposes/pay.toml"]

    run(main())


def test_who_is_not_there_is_not_reviewed(run):
    async def main():
        w, _, _ = await house()
        for name, campaign, problem in (("nobody", "", Absent), ("other", "Not A Name", BadField)):
            with pytest.raises(problem):
                await verb.open_review(w.env, operator(w), name, campaign)
        seen = await look(w)
        with pytest.raises(BadField, match="longer"):
            await answer(w, "olga", Verdict.KEEP, seen, note="x" * 2001)
        with pytest.raises(WrongState, match="no passkey"):
            await verb.challenge(w.env, w.person("olga"), "bot", verb.Reviewed(seen.digest, Verdict.KEEP), seen.covers)

    run(main())


def test_the_next_looks_back_to_the_one_before():
    terms = Terms()
    first = opened(None, "bot", "", "op", 100 * DAY, terms)
    assert (first.round, first.since) == (1, 10 * DAY)
    done = first.answered("olga", Verdict.KEEP, 101 * DAY, "d", "{}")
    assert opened(done, "bot", "", "op", 200 * DAY, terms).since == 101 * DAY
    assert opened(done, "bot", "", "op", 102 * DAY, terms).since == 12 * DAY  # not of a day alone


def test_a_narrowing_only_ever_takes_away():
    a, b = Entitlement("pay", "tool", "mail"), Entitlement("pay", "credential", "db")
    row = Narrowing("bot").and_without([a], 1, "x", "y").and_without([b], 2, "x", "y")
    assert row.without == tuple(sorted((a, b))) and row.withholds("pay", "db") and not row.withholds("other", "db")
    assert json.dumps([held.name for held in row.without])


def test_whoever_may_answer_is_told_and_its_path_too_once_it_was_narrowed(run):
    async def main():
        sent, chat = [], '[notifications.chat]\nsecret = "chat"\n'

        class Told:
            async def send(self, address, title, body):
                sent.append((title, body))

        w, _, _ = await house(chat)
        await seal(w.env, operator(w), "chat", b"https://chat.example/x")
        w.env = replace(w.env, notifier=Told())
        await notify(w.env, w.clock.now)
        ((title, body),) = sent
        assert title == "bot is to be reviewed" and body.endswith("/console/reviews/bot")
        assert [row.names for row in await w.store.find(Notice, {}, limit=9)] == [("olga", "gina")]
        w.clock.now = (await w.store.get(Review, "bot")).narrow_at
        await log(w)
        await tend_reviews(w.env, w.store, w.clock.now)
        assert {row.names for row in await w.store.find(Notice, {}, limit=9)} >= {("olga", "gina", "finance")}
        await answer(w, "olga", Verdict.NARROW)
        await notify(w.env, w.clock.now)
        assert len(sent) == 1 and not await w.store.due(Notice, w.clock.now + DAY)  # nobody is asked any more

    run(main())
