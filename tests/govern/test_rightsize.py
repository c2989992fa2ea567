"""A purpose is narrowed by what was permitted, never widened, and no real call is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.caller import CallerKind
from remit.domain.catalogue import Catalogue
from remit.domain.change import Change
from remit.domain.decision import Access, word
from remit.domain.errors import BadCatalogue
from remit.domain.flow import Sensitivity
from remit.domain.purpose import CredentialRule, DelegationRule, GrantRule
from remit.domain.scope import Attempt
from remit.formats import purpose_file, toml_edit, tool_file
from remit.formats.toml_source import Section
from remit.govern.excess import Excess, Seen, excess, within
from remit.govern.rightsize import rightsize
from remit.govern.usage import Unused, Use, unused
from remit.govern.without import without
from remit.verbs.apply import apply
from remit.verbs.decide import decide
from remit.verbs.issue import issue
from tests.delegating import CATALOGUE as DELEGATING
from tests.delegating import DIG, LEAD, below, house
from tests.world import EVER, changed, world

from .test_incident import decided, ran, sequenced, settled

DAY = 86_400_000
TOOLS = {
    name: tool_file.read(name, Section.read(name, f'effect = "read"\nresource = "{name}"\n{more}'))
    for name, more in (
        ("a", 'environment = "test"\nsensitivity = "public"\n'),
        ("b", 'sensitivity = "confidential"\n'),
        ("c", 'environment = "staging"\nsensitivity = "restricted"\n'),
    )
}
PURPOSE = """owner = "olga"
agents = ["bot", "lead"]
max_duration = "8h"
max_calls = 100
max_sensitivity = "restricted"
environments = ["production", "staging", "test"]
[[grants]]
tool = "a"
# b is for
[[grants]]
tool = "b"
[[grants]]
tool = "c"
[[credentials]]
name = "db"
issuer = "pg"
ttl = "10m"
environment = "test"
sensitivity = "public"
"""


def parsed(text):
    section = Section.read("p.toml", text)
    return purpose_file.read("p", section)


def use(tool, permitted=0, held=0, denied=0, agent="bot"):
    return Use(agent, "p", tool, 0, permitted, held, denied, permitted)


def seen(
    *uses,
    tasks=40,
    days=20,
    agents=("bot", "lead"),
    calls=60,
    longest=7 * 3_600_000,
    issued=("db",),
    blind=False,
    whole=True,
):
    gone = frozenset("abc") - {one.tool for one in uses if one.permitted}
    never = Unused("p", frozenset(agents), 0, gone, frozenset({"db"}) - frozenset(issued), blind)
    return Seen(0, tasks, days, frozenset(agents), calls, longest, whole, never, tuple(uses))


def narrowed(what, purpose=None, **more):
    return excess(purpose or parsed(PURPOSE), what, Catalogue(tools=TOOLS), **more)


def test_what_nobody_was_permitted_goes_with_what_it_alone_needed():
    what, _ = narrowed(seen(use("a", 3), use("b"), use("c")))
    assert what.tools == {"b", "c"} and what.sensitivity == "public" and what.environments == {"production", "staging"}


def test_held_and_denied_are_no_use_however_often():
    what, _ = narrowed(seen(use("a", 1), use("b", held=1000, denied=1000), use("c", denied=1000)))
    assert what.tools == {"b", "c"}


def test_too_little_is_said_and_not_narrowed_by():
    what, kept = narrowed(seen(use("a", 3), tasks=3, days=2))
    assert not what and "Seen 3 tasks in 2 days: too little" in kept[0]
    assert narrowed(seen(use("a", 3), tasks=3, days=2), force=True)[0].tools == {"b", "c"}
    for tasks, days in ((19, 7), (20, 6)):
        assert not narrowed(seen(use("a", 3), tasks=tasks, days=days))[0]
    assert narrowed(seen(use("a", 3), tasks=20, days=7))[0]
    assert not narrowed(seen(tasks=0), force=True)[0]


def test_what_cannot_be_known_stays():
    assert "before purposes were written down" in narrowed(seen(use("a", 1), blind=True))[1][1]
    less = narrowed(seen(use("a", 1), whole=False, agents=frozenset({"bot"}), calls=1, longest=1))[0]
    assert less.tools == {"b", "c"} and (less.agents, less.max_calls, less.max_duration) == (frozenset(), 0, 0)
    hands_on = replace(parsed(PURPOSE), delegations=(DelegationRule(("x",), ("y",)),))
    less = narrowed(seen(use("a", 1), issued=()), hands_on)[0]
    assert not (less.tools or less.credentials or less.sensitivity or less.environments)
    assert not narrowed(seen(use("a"), use("b")))[0].tools  # all of them would go


def test_agents_calls_time_and_credentials():
    what, _ = narrowed(seen(use("a", 1), agents=("bot",), calls=14, longest=601_000, issued=()))
    assert (what.agents, what.max_calls, what.max_duration) == ({"lead"}, 28, 1_260_000)
    assert what.credentials == {"db"}
    text = without(parsed(PURPOSE), PURPOSE, what)
    assert 'agents = ["bot"]' in text and "max_calls = 28" in text and 'max_duration = "21m"' in text
    assert "[[credentials]]" not in text and 'tool = "b"' not in text and "# b is for" not in text
    again, _ = narrowed(seen(use("a", 1), agents=("bot",), calls=14, longest=601_000, issued=()), parsed(text))
    assert not again
    assert not narrowed(seen(use("a", 1), use("b", 1), use("c", 1), agents=("somebody",)))[0].agents
    least, _ = narrowed(seen(use("a", 1), calls=1, longest=1))
    assert (least.max_calls, least.max_duration) == (10, 900_000)  # a quick task is not every task


counts = st.integers(0, 1000)
names = st.sets(st.sampled_from(["bot", "lead", "db", "ghost"]))


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), counts, counts, counts)),
    names,
    names,
    st.integers(0, 10**6),
    st.integers(0, 10**11),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_a_proposal_is_never_wider(used, agents, issued, calls, longest, whole, blind, force):
    """Law 2, to the scope: whatever the narrower purpose permits, at whatever moment, this one did."""
    old = parsed(PURPOSE)
    facts = seen(
        *(use(*one) for one in used),
        agents=agents,
        issued=issued,
        calls=calls,
        longest=longest,
        whole=whole,
        blind=blind,
    )
    what, _ = narrowed(facts, force=force)
    new = parsed(without(old, PURPOSE, what)) if what else old
    assert within(new, old) and (not what or new != old)
    wide, narrow = old.scope({}, old.until(0)), new.scope({}, new.until(0))
    for tool in "abcd":
        for sensitivity in Sensitivity:
            for place in ("production", "staging", "test", "elsewhere"):
                for at in (0, 60_000, new.max_duration, old.max_duration):
                    attempt = Attempt(tool, tool, {}, sensitivity, place, at)
                    assert wide.permits(attempt) or not narrow.permits(attempt)


@pytest.mark.parametrize(
    "wider",
    [
        {"agents": ("bot", "lead", "x")},
        {"agents": ()},
        {"grants": (GrantRule("d", "**"),)},
        {"grants": (GrantRule("a", "*"),)},
        {"sensitivity": Sensitivity.RESTRICTED},
        {"environments": ("moon",)},
        {"max_calls": 101},
        {"max_duration": 9 * 3_600_000},
        {"credentials": (CredentialRule("db", "pg", 1),)},
        {"initiators": ("dana",)},
        {"owner": "dana"},
        {"max_depth": 1},
    ],
)
def test_what_is_wider_or_merely_other_is_not_within(wider):
    old = replace(parsed(PURPOSE), sensitivity=Sensitivity.CONFIDENTIAL)
    assert within(old, old) and not within(replace(old, **wider), old)


# --- what was never used ---


@ran
async def test_what_was_held_or_denied_was_never_used_and_what_was_permitted_once_was():
    found = await world()
    _, call = await found.proved()
    task = await found.task(call)
    for n in range(3):
        pay = {"customer": "acme", "invoice": n, "amount": "1"}
        assert word(await decide(found.env, call, Access(task.id, "pay", pay))) == "hold"
        assert word(await decide(found.env, call, Access(task.id, "list", {"customer": "other"}))) == "deny"
    await settled(found)
    purpose = (await found.env.in_force())[1].catalogue.purposes["pay"]
    never = await unused(found.store, purpose)
    assert never.tools == {"list", "pay", "mail", "pinned"} and never.credentials == {"db", "secret", "shown"}
    assert word(await decide(found.env, call, Access(task.id, "list", {"customer": "acme"}))) == "permit"
    await issue(found.env, call, task.id, "db")
    await sequenced(found)  # the index has not reached them
    never = await unused(found.store, purpose)
    assert never.tools == {"pay", "mail", "pinned"} and never.credentials == {"secret", "shown"} and not never.blind
    later = await unused(found.store, purpose, since=found.clock.now + 1)
    assert "list" in later.tools and "db" in later.credentials
    theirs = await unused(found.store, purpose, agents=["other"])
    assert "list" in theirs.tools and theirs.agents == {"other"}


@ran
async def test_what_an_old_log_cannot_tell_counts_as_used():
    """Decisions from before purposes were written down: whichever purpose a permit was for, its tool stays."""
    found = await world()
    _, call = await found.proved()
    task = await found.task(call)
    await found.store.commit(Change(decided(task.id, "mail", decision="permit"), call))
    await found.store.commit(Change(decided(task.id, "pay", decision="hold"), call))
    await settled(found)
    never = await unused(found.store, (await found.env.in_force())[1].catalogue.purposes["pay"])
    assert never.blind and never.tools == {"list", "pay", "pinned"} and not never.credentials


# --- what the replay puts back ---

LONG = """
owner = "olga"
agents = ["bot", "other"]
max_duration = "5d"
max_calls = 50
max_sensitivity = "confidential"
[parameters.customer]
pattern = "[a-z]+"
[[grants]]
tool = "list"
resource = "customer/{customer}"
[[grants]]
tool = "mail"
"""


async def busy():
    """A task of bot's from days ago, which made a call just now, and one of other's from today."""
    found = await world(files=changed(purposes__pay_dot_toml=LONG, policies__default_dot_cedar=EVER))
    _, bot = await found.proved()
    _, other = await found.proved("other")
    old = await found.task(bot)
    found.clock.advance(3 * DAY)
    new = await found.task(other)
    found.clock.advance(60_000)
    for call, task in ((bot, old), (other, new)):
        now = replace(call, now=found.clock.now)
        assert word(await decide(found.env, now, Access(task.id, "list", {"customer": "acme"}))) == "permit"
    await settled(found)
    return found


async def asked_again(found, *purposes):
    return await rightsize(found.env, found.store, purposes or ["pay"], now=found.clock.now, days=1, force=True)


@ran
async def test_what_a_real_call_needs_is_put_back():
    """By today's tasks a quarter of an hour would do; but bot's began days ago."""
    found = await busy()
    done = await asked_again(found)
    (one,) = done.proposals
    assert one.kept[-1] == "max_duration stays: without, 1 real call would have been stopped."
    assert one.excess == Excess(tools=frozenset({"mail"}), sensitivity="internal", max_calls=10)
    assert one.seen.agents == {"bot", "other"}
    assert (done.broken, done.already) == (0, 0) and done.replayed.replayed == 2 and done.replayed.whole


@ran
async def test_what_is_refused_already_is_no_loss():
    """A call that was made under a wider purpose stands in no later proposal's way."""
    found = await busy()
    await apply(
        found.env,
        found.call(CallerKind.OPERATOR, "op"),
        changed(purposes__pay_dot_toml=LONG.replace('"bot", "other"', '"other"'), policies__default_dot_cedar=EVER),
    )
    done = await asked_again(found)
    (one,) = done.proposals
    assert one.excess == Excess(frozenset({"mail"}), sensitivity="internal", max_calls=10, max_duration=900_000)
    assert (done.broken, done.already) == (0, 1)


async def handed_on(files=None):
    """The lead notes, and what it handed on lists, for others to narrow by."""
    found = await house()
    _, bot = await found.proved()
    _, other = await found.proved("other")
    task = await found.task(bot, "lead", customer="acme")
    assert word(await decide(found.env, bot, Access(task.id, "note", {"to": "x"}))) == "permit"
    child = await below(found, bot, task, other)
    assert word(await decide(found.env, other, Access(child.id, "list", {"customer": "acme"}))) == "permit"
    if files:
        await apply(found.env, found.call(CallerKind.OPERATOR, "op"), files)
    await settled(found)
    return found


@ran
async def test_what_hands_on_keeps_what_is_below_it_may_need():
    found = await handed_on()
    (one,) = (await asked_again(found, "lead")).proposals
    assert not (one.excess.tools or one.excess.credentials or one.excess.environments or one.excess.sensitivity)
    assert "It hands on" in one.kept[1]


@ran
async def test_what_was_needed_below_is_put_back_by_name():
    """By its own calls it needs `note` alone: what it handed on in that time did the rest within it."""
    alone = LEAD.partition("[[delegations]]")[0].replace("max_depth = 2\n", "")
    found = await handed_on({**DELEGATING, "purposes/lead.toml": alone})
    done = await asked_again(found, "lead", "dig")
    lead, _ = done.proposals
    assert lead.excess.tools == {"pay", "web"} and lead.seen.unused.tools == {"list", "pay", "web"}
    assert lead.kept[-1] == "list, sensitivity stay: without, 1 real call would have been stopped."
    assert (done.broken, done.replayed.replayed) == (0, 2)


@ran
async def test_what_another_file_names_stays():
    """`lead` hands on to bot for `dig` or `lead`, and `dig` to third: nobody used either, and a hand-off may."""
    found = await handed_on()
    done = await asked_again(found, "dig", "lead", "watched")
    dig = done.proposals[0]
    assert "'third' is an agent of none of dig" in dig.kept[-1] and not dig.excess.agents and dig.excess.max_calls == 10
    assert done.broken == 0 and done.files.keys() == {"purposes/dig.toml", "purposes/lead.toml"}


@ran
async def test_what_only_together_breaks_a_reference_stays():
    """Two purposes may each do without the agent that a third file names, and not both."""
    alone = DIG.partition("[[delegations]]")[0].replace("max_depth = 5\n", "")
    alone = alone.replace('["other", "third", "bot"]', '["other", "third"]')
    lead = LEAD.replace('["other", "bot"]', '["other", "third"]').replace('["dig", "lead", "watched"]', '["a", "b"]')
    files = {
        name: text for name, text in DELEGATING.items() if name not in ("purposes/dig.toml", "purposes/watched.toml")
    }
    found = await house({**files, "purposes/a.toml": alone, "purposes/b.toml": alone, "purposes/lead.toml": lead})
    _, other = await found.proved("other")
    for name in ("a", "b"):
        task = await found.task(other, name, customer="acme")
        assert word(await decide(found.env, other, Access(task.id, "list", {"customer": "acme"}))) == "permit"
    await settled(found)
    (one,) = (await asked_again(found, "a")).proposals
    assert one.excess.agents == {"third"}
    done = await asked_again(found, "a", "b")
    assert [one.excess.agents for one in done.proposals] == [frozenset(), frozenset()]
    assert all("'third' is an agent of none of a, b" in one.kept[-1] for one in done.proposals)
    assert [sorted(one.excess.tools) for one in done.proposals] == [["mail", "note", "pay", "web"]] * 2


@ran
async def test_what_cannot_be_written_exactly_stays_and_says_why(monkeypatch):
    found = await busy()
    refuse = BadCatalogue("purposes/pay.toml", 1, "cannot be changed without changing more than was asked for")
    monkeypatch.setattr(toml_edit, "edited", lambda *_: (_ for _ in ()).throw(refuse))
    done = await asked_again(found)
    assert not done.files and "All of it stays: purposes/pay.toml:1: cannot be changed" in done.proposals[0].kept[-1]
