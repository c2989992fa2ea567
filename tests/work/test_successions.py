"""An owner leaves: somebody who is asked takes over, or what answers to nobody stops, whatever the order of it all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain.accountability import DAY
from remit.domain.caller import CallerKind
from remit.domain.decision import Access, Permit
from remit.domain.errors import Absent, BadCatalogue, BadField, Conflict, Denied, WrongState
from remit.domain.freeze import MOST, Freeze, Frozen, Reach
from remit.domain.notice import Notice
from remit.domain.signal import RISC, SecurityEvent
from remit.domain.succession import Missing, Succession, SuccessionState
from remit.formats.catalogue import parse
from remit.store.memory import MemoryStore
from remit.store.replay import replay
from remit.verbs import freeze as freezing
from remit.verbs import succeed
from remit.verbs.apply import apply
from remit.verbs.decide import decide
from remit.verbs.depart import come_back, depart
from remit.verbs.heed import heed
from remit.verbs.propose import Proposal, propose
from remit.verbs.seal import seal
from remit.work.notify import notify
from remit.work.tend_successions import tend_successions
from tests.delegating import Between
from tests.world import FILES, changed, world

BOT = 'owner = "olga"\ndeputy = "gina"\nescalation = ["finance", "dana"]\n[[attestations]]\nmethod = "join_token"\n'
SIGNALS = """
[signals.idp]
issuer = "https://idp.example"
audience = "https://remit.test/signals/idp"
people = { olga = "00u2" }
"""
LIST = {"customer": "acme"}


def files(more="", **others):
    return changed(remit_dot_toml=FILES["remit.toml"] + SIGNALS + more, **{"agents__bot_dot_toml": BOT, **others})


async def house(store=None, more="", **others):
    w = await world(store or Between(), files(more, **others))
    _, call = await w.proved()
    return w, call


def operator(w):
    return w.call(CallerKind.OPERATOR, "op")


async def tend(w):
    while await tend_successions(w.env, w.clock.now):
        pass


async def leaves(w, who="olga"):
    await depart(w.env, operator(w), who, "left")
    await tend(w)


async def row(w, key="agent bot"):
    return await w.store.get(Succession, key)


async def accept(w, who, reach=Reach.AGENT, name="bot", shown=""):
    head, _ = await w.env.in_force()
    found = await row(w, f"{reach.value} {name}")
    shown = shown or (succeed.digest(found, head) if found else "sha256:")
    return await succeed.succeed(w.env, w.person(who), reach, name, shown)


async def permitted(w, call):
    task = await propose(w.env, replace(call, now=w.clock.now), Proposal("pay", "goal", LIST))
    return isinstance(await decide(w.env, replace(call, now=w.clock.now), Access(task.id, "list", LIST)), Permit)


def test_the_deputy_is_asked_then_the_path_and_then_it_stops(run):
    async def main():
        w, call = await house()
        await leaves(w)
        began = await row(w)
        assert (began.missing, began.owner, began.asked) == (Missing.LEFT, "olga", ("gina",))
        assert began.until == w.clock.now + 7 * DAY and await permitted(w, call)
        w.clock.now += DAY
        await tend(w)
        assert (await row(w)).asked == ("gina", "finance")
        w.clock.now += DAY
        await tend(w)
        assert (await row(w)).asked == ("gina", "finance", "dana") and (await row(w)).next_at == 0
        w.clock.now = began.until - 1
        await tend(w)
        assert (await row(w)).state is SuccessionState.OPEN and not (await w.env.frozen()).freezes
        w.clock.now += 1
        await tend(w)
        assert (await row(w)).state is (await row(w, "purpose pay")).state is SuccessionState.STOPPED
        (freeze,) = (await w.env.frozen()).freezes  # one, of all that olga answered for
        assert freeze.target == "owner olga" and freeze.reason == "olga left, and nobody took over"
        _, again = await w.proved()
        with pytest.raises(Denied, match="frozen"):
            await permitted(w, again)
        assert not await replay(w.store)

    run(main())


def test_who_takes_over_answers_until_the_catalogue_says_otherwise(run):
    async def main():
        w, _call = await house()
        await leaves(w)
        taken = await accept(w, "gina")
        assert taken.state is SuccessionState.TAKEN and taken.heir == "gina"
        _, force = await w.env.in_force()
        bot = force.catalogue.agents["bot"]
        assert await w.env.answers_for(bot) == "gina"
        await freezing.freeze(w.env, w.person("gina"), Reach.AGENT, "bot", "looks odd")
        await freezing.unfreeze(w.env, w.person("gina"), Reach.AGENT, "bot", "is fine")
        with pytest.raises(Absent):
            await freezing.freeze(w.env, w.person("gina"), Reach.PURPOSE, "pay", "not hers")
        w.clock.now += 8 * DAY
        await tend(w)
        frozen = {one.target for one in (await w.env.frozen()).freezes}
        assert "agent bot" not in frozen and "owner olga" not in frozen  # what gina took over goes on
        assert {"agent other", "purpose pay", "purpose asked"} <= frozen
        await apply(w.env, operator(w), files(agents__bot_dot_toml=BOT.replace("olga", "gina", 1).replace('deputy = "gina"\n', "")))  # fmt: skip
        await tend(w)
        assert (await row(w)).state is SuccessionState.OVER

    run(main())


def test_an_owner_who_is_back_answers_again(run):
    async def main():
        w, _ = await house()
        await leaves(w)
        await come_back(w.env, operator(w), "olga")
        await tend(w)
        assert (await row(w)).state is SuccessionState.OVER
        await leaves(w)
        await accept(w, "gina")
        await come_back(w.env, operator(w), "olga")
        await tend(w)
        _, force = await w.env.in_force()
        assert await w.env.answers_for(force.catalogue.agents["bot"]) == "olga"
        assert (await row(w)).state is SuccessionState.OVER

    run(main())


def test_when_the_heir_leaves_too_the_rest_is_asked(run):
    async def main():
        w, _ = await house()
        await leaves(w)
        await accept(w, "gina")
        await leaves(w, "gina")
        found = await row(w)
        assert (found.state, found.asked) == (SuccessionState.OPEN, ("finance",))
        with pytest.raises(Denied, match="You left"):  # gina is of finance, and is not here
            await accept(w, "gina")
        assert (await accept(w, "frank")).heir == "frank"

    run(main())


@pytest.mark.parametrize("who", ["dana", "olga", "nobody"])
def test_who_is_not_asked_takes_nothing_over(run, who):
    async def main():
        w, _ = await house()
        await leaves(w)
        with pytest.raises(Absent):
            await accept(w, who)
        with pytest.raises(Absent):
            await accept(w, "gina", Reach.AGENT, "bots")

    run(main())


def test_whose_own_estate_is_frozen_takes_nothing_over(run):
    async def main():
        w, _ = await house()
        await leaves(w)
        await freezing.freeze(w.env, operator(w), Reach.OWNER, "gina", "her account is not hers")
        with pytest.raises(Denied):
            await accept(w, "gina")

    run(main())


def test_what_was_shown_is_what_is_taken_over(run):
    async def main():
        w, _ = await house()
        await leaves(w)
        head, _ = await w.env.in_force()
        shown = succeed.digest(await row(w), head)
        await apply(w.env, operator(w), files(agents__bot_dot_toml='tier = "autonomous"\n' + BOT))
        assert (await row(w)).waits
        with pytest.raises(BadField, match="not of what is there now"):
            await accept(w, "gina", shown=shown)
        assert (await accept(w, "gina")).heir == "gina"
        with pytest.raises(WrongState):  # once
            await accept(w, "gina")

    run(main())


@pytest.mark.parametrize("meanwhile", ["back", "gone", "frozen", "applied", "stopped", "taken"])
def test_races_with_taking_over(run, meanwhile):
    """Between the reads of taking over and its commit."""

    async def main():
        w, _ = await house()
        await leaves(w)
        before = await row(w)

        async def between():
            match meanwhile:
                case "back":
                    await come_back(w.env, operator(w), "olga")
                case "gone":
                    await depart(w.env, operator(w), "gina", "left too")
                case "frozen":
                    await freezing.freeze(w.env, operator(w), Reach.OWNER, "gina", "odd")
                case "applied":
                    await apply(w.env, operator(w), files(agents__bot_dot_toml=BOT.replace("olga", "dana", 1).replace(', "dana"', "")))  # fmt: skip
                case "stopped":
                    w.clock.now += 7 * DAY
                    await tend_successions(w.env, w.clock.now)
                case "taken":
                    w.clock.now += DAY
                    await tend_successions(w.env, w.clock.now)
                    await accept(w, "frank")

        w.store.between = between
        wanted = {
            "back": WrongState, "gone": Denied, "frozen": Denied, "applied": WrongState, "taken": WrongState
        }.get(meanwhile)  # fmt: skip
        if wanted is None:  # it stopped, and may be taken over still: the freeze stays
            assert (await accept(w, "gina")).heir == "gina"
            assert (await w.env.frozen()).freezes
        else:
            with pytest.raises(wanted):
                await accept(w, "gina")
            assert (await row(w)).heir == ("frank" if meanwhile == "taken" else "")
        assert before.state is SuccessionState.OPEN

    run(main())


def test_everybody_says_at_once_that_they_left(run):
    async def main():
        w, _ = await house()
        _, force = await w.env.in_force()
        said = SecurityEvent("j1", w.clock.now, RISC + "account-disabled", {"format": "opaque", "id": "00u2"}, {})
        system = w.call(CallerKind.SYSTEM, "signals/idp")
        hears = heed(w.env, system, force.catalogue.transmitters["idp"], said)
        await asyncio.gather(hears, depart(w.env, operator(w), "olga", "left"), *(tend(w) for _ in range(3)))
        await asyncio.gather(*(tend(w) for _ in range(3)))
        about_bot = [one for one in w.events() if one == "SuccessionBegan"]
        assert len(about_bot) == 4  # bot, other, pay, asked: once each
        assert (await w.env.departure("olga")).gone and (await row(w)).state is SuccessionState.OPEN
        assert not await replay(w.store)

    run(main())


def test_an_owner_who_never_said_so_is_asked_first(run):
    async def main():
        w, _call = await house(more="[accountability]\nconfirm = true\ngrace = '2d'\nask_every = '1d'\n")
        await tend(w)
        found = await row(w)
        assert (found.missing, found.asked, found.until - w.clock.now) == (Missing.UNCONFIRMED, ("olga",), 2 * DAY)
        assert (await accept(w, "olga")).heir == "olga"
        await tend(w)
        w.clock.now += 2 * DAY
        await tend(w)
        frozen = {one.target for one in (await w.env.frozen()).freezes}
        assert "agent bot" not in frozen and {"agent other", "purpose pay"} <= frozen
        assert (await row(w, "agent other")).state is SuccessionState.STOPPED
        await leaves(w)  # who confirmed leaves: the deputy is asked
        assert (await row(w)).missing is Missing.LEFT and (await row(w)).asked == ("gina",)

    run(main())


def test_an_agent_without_anybody_else_is_known_to_be_so(run):
    async def main():
        w, _ = await house()
        await leaves(w)
        assert (await row(w, "agent other")).asked == ()
        w.clock.now += 7 * DAY
        await tend(w)
        assert (await row(w, "agent other")).state is SuccessionState.STOPPED

    run(main())


def test_what_is_gone_from_the_catalogue_needs_nobody(run):
    async def main():
        w, _ = await house()
        await leaves(w)
        less = {name: text for name, text in files().items() if name != "agents/other.toml"}
        await apply(w.env, operator(w), less)
        await tend(w)
        assert (await row(w, "agent other")).state is SuccessionState.OVER

    run(main())


@pytest.mark.parametrize("taken", [False, True])
def test_many_agents_lose_their_owner_in_small_commits(run, monkeypatch, taken):
    async def main():
        monkeypatch.setattr("remit.domain.freeze.MOST", 20)
        many = {f"agents/a{n}.toml": BOT for n in range(60)}
        biggest = 0

        class Counting(MemoryStore):
            async def commit(self, change):
                nonlocal biggest
                biggest = max(biggest, len(change.puts))
                return await super().commit(change)

        w = await world(Counting(), {**files(), **many})
        await leaves(w)
        assert len(await w.env.successions()) == 64
        if taken:
            await accept(w, "gina", name="a7")
        w.clock.now += 7 * DAY
        await tend(w)
        rows = (await w.env.successions()).values()
        assert sum(one.state is SuccessionState.STOPPED for one in rows) == 64 - taken
        frozen, (_, force) = await w.env.frozen(), await w.env.in_force()
        # One by one up to the bound, where somebody took something over; then, rather than go on, all of the owner's.
        assert all(frozen.of(one) is not None for one in force.catalogue.agents.values() if one.name != "a7")
        assert biggest <= 4 and len(frozen.freezes) == (21 if taken else 1)

    run(main())


def test_whoever_is_asked_is_told_and_only_while_it_waits(run):
    async def main():
        sent = []

        class Told:
            async def send(self, address, title, body):
                sent.append((address, title, body))

        w, _ = await house(more='[notifications.chat]\nsecret = "chat"\n')
        await seal(w.env, operator(w), "chat", b"https://chat.example/x")
        w.env = replace(w.env, notifier=Told())
        await depart(w.env, operator(w), "olga", "left")
        await tend_successions(w.env, w.clock.now)
        await accept(w, "gina")
        while await notify(w.env, w.clock.now):
            pass
        about = {title for _, title, _ in sent}
        assert "agent bot needs an owner" not in about  # gina has it already
        assert not await w.store.due(Notice, w.clock.now + DAY)

    run(main())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOT.replace('deputy = "gina"', 'deputy = "gino"'), "did you mean 'gina'"),
        (BOT.replace('deputy = "gina"', 'deputy = "olga"'), "name somebody else"),
        (BOT.replace('"finance"', '"finances"'), "did you mean"),
        ('review_every = "1s"\n' + BOT, "one minute to ten years"),
        ('review_evry = "1d"\n' + BOT, "did you mean 'review_every'"),
    ],
)
def test_entries_that_are_wrong(text, problem):
    with pytest.raises(BadCatalogue, match=problem):
        parse(files(agents__bot_dot_toml=text))


def test_who_is_asked_is_no_part_of_what_a_purpose_permits(run):
    async def main():
        w, call = await house()
        task = await w.task(call)
        more = 'deputy = "gina"\nescalation = ["finance"]\nreview_every = "30d"\n' + FILES["purposes/pay.toml"]
        await apply(w.env, operator(w), files(purposes__pay_dot_toml=more))
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)

    run(main())


STEPS = st.lists(
    st.sampled_from(["leave olga", "leave gina", "back olga", "back gina", "gina", "frank", "day", "tend"]), max_size=10
)


@settings(max_examples=12, deadline=None)
@given(STEPS)
def test_nothing_goes_on_for_longer_than_its_grace_without_somebody_who_is_here(steps):
    """The law: whatever happens in whatever order, once all is tended, either somebody who is here answers for the agent,
    or it is frozen, or its grace is not over.
    """

    async def main():
        w, _ = await house()
        alone = None
        for step in steps:
            word, _, who = step.partition(" ")
            try:
                match word:
                    case "leave":
                        await depart(w.env, operator(w), who, "left")
                    case "back":
                        await come_back(w.env, operator(w), who)
                    case "day":
                        w.clock.now += 2 * DAY
                    case "gina" | "frank":
                        await accept(w, word)
            except (Absent, BadField, Conflict, Denied, WrongState):
                pass
            await tend(w)
            frozen, (_, force) = await w.env.frozen(), await w.env.in_force()
            bot = force.catalogue.agents["bot"]
            answers = await w.env.answers_for(bot)
            if not (await w.env.departure(answers)).gone:
                alone = None
            else:
                alone = alone if alone is not None else w.clock.now
                assert frozen.of(bot) is not None or w.clock.now < alone + 7 * DAY, (answers, steps)

    asyncio.run(main())


def test_a_forced_freeze_is_the_last_word_about_a_bound():
    full = Frozen(tuple(Freeze(Reach.AGENT, f"a{n}", 1, "r", "b") for n in range(MOST)))
    one = Freeze(Reach.OWNER, "olga", 1, "r", "b")
    with pytest.raises(WrongState):
        full.began(one)
    assert full.forced(one).found(Reach.OWNER, "olga") == one
