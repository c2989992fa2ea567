"""A purpose is narrowed by what was permitted, never widened, and no real call is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.caller import CallerKind
from remit.domain.catalogue import Catalogue
from remit.domain.decision import Access, word
from remit.domain.flow import Sensitivity
from remit.domain.purpose import CredentialRule, DelegationRule, GrantRule
from remit.domain.scope import Attempt
from remit.formats import purpose_file, tool_file
from remit.formats.toml_source import Section
from remit.govern.rightsize import Seen, proposed, rightsize, within, written
from remit.govern.usage import Use
from remit.verbs.apply import apply
from remit.verbs.decide import decide
from tests.server import CATALOGUE, eventually, furnished, process
from tests.world import EVER, changed, world

from .test_incident import ran, settled

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


def seen(*uses, tasks=40, days=20, agents=("bot", "lead"), calls=60, longest=7 * 3_600_000, issued=("db",), **more):
    made = Seen(0, tasks, days, frozenset(agents), calls, longest, True, False, tuple(uses), frozenset(issued))
    return replace(made, **more)


def narrowed(what, purpose=None, **more):
    return proposed(purpose or parsed(PURPOSE), what, Catalogue(tools=TOOLS), **more)


def test_what_nobody_was_permitted_goes_with_what_it_alone_needed():
    what, _ = narrowed(seen(use("a", 3), use("b"), use("c")))
    assert what.tools == {"b", "c"} and what.sensitivity == "public" and what.environments == {"production", "staging"}


def test_held_and_denied_are_no_use_however_often():
    what, _ = narrowed(seen(use("a", 1), use("b", held=1000, denied=1000), use("c", denied=1000)))
    assert what.tools == {"b", "c"}


def test_too_little_is_said_and_not_narrowed_by():
    what, kept = narrowed(seen(use("a", 3), tasks=3, days=2))
    assert not what and kept == ("Seen 3 tasks in 2 days: too little to narrow.",)
    assert narrowed(seen(use("a", 3), tasks=3, days=2), force=True)[0].tools == {"b", "c"}
    for tasks, days in ((19, 7), (20, 6)):
        assert not narrowed(seen(use("a", 3), tasks=tasks, days=days))[0]
    assert narrowed(seen(use("a", 3), tasks=20, days=7))[0]
    assert not narrowed(seen(tasks=0), force=True)[0]


def test_what_cannot_be_known_stays():
    assert narrowed(seen(use("a", 1), blind=True), recent=frozenset({"b"}))[0].tools == {"c"}
    assert not narrowed(seen(use("a", 1), blind=True, issued=frozenset()))[0].credentials
    less = narrowed(seen(use("a", 1), whole=False, agents=frozenset({"bot"}), calls=1, longest=1))[0]
    assert less.tools == {"b", "c"} and (less.agents, less.max_calls, less.max_duration) == (frozenset(), 0, 0)
    hands_on = replace(parsed(PURPOSE), delegations=(DelegationRule(("x",), ("y",)),))
    less = narrowed(seen(use("a", 1)), hands_on)[0]
    assert not less.tools and not less.sensitivity and not less.environments
    assert not narrowed(seen(use("a"), use("b")))[0].tools  # all of them would go


def test_agents_calls_time_and_credentials():
    what, _ = narrowed(seen(use("a", 1), agents=("bot",), calls=4, longest=61_000, issued=()))
    assert (what.agents, what.max_calls, what.max_duration) == ({"lead"}, 8, 180_000)
    assert what.credentials == {"db"}
    text = written(parsed(PURPOSE), PURPOSE, what)
    assert 'agents = ["bot"]' in text and "max_calls = 8" in text and 'max_duration = "3m"' in text
    assert "[[credentials]]" not in text and 'tool = "b"' not in text and "# b is for" not in text
    again, _ = narrowed(seen(use("a", 1), agents=("bot",), calls=4, longest=61_000, issued=()), parsed(text))
    assert not again
    assert not narrowed(seen(use("a", 1), use("b", 1), use("c", 1), agents=("somebody",)))[0].agents


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
    facts = seen(*(use(*one) for one in used), calls=calls, longest=longest, whole=whole, blind=blind)
    what, _ = narrowed(replace(facts, agents=frozenset(agents), issued=frozenset(issued)), force=force)
    new = parsed(written(old, PURPOSE, what)) if what else old
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


# --- of a server ---


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Two tasks that list; one of them is denied and held a lot. And one that was handed on."""
    with process(tmp_path_factory.mktemp("rightsize") / "data") as running:
        furnished(running)
        bot = running.agent()
        for _ in range(2):
            task, token = bot.task()
            assert bot.call(task, token)["decision"] == "permit"
        for n in range(3):
            bot.call(task, token, "pay", {"customer": "acme", "invoice": n, "amount": "1.00"})
            bot.call(task, token, "pay", {"customer": "other", "invoice": n, "amount": "1.00"})
        running.task, running.token, running.bot = task, token, bot
        running.http("operator").post(f"/v1/tasks/{task}/end", json={"reason": "done"})
        eventually(lambda: counted(running)["pay"], lambda one: (one["held"], one["denied"]) == (3, 3))
        yield running


def asked(server, of="pay", who="anna", **more):
    answer = server.http(who).get("/v1/rightsize", params={"of": of, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def counted(server, of="pay"):
    return {one["tool"]: one for one in asked(server, of)["items"][0]["uses"]}


def test_little_is_said_and_force_proposes_and_replays(server):
    (one,) = asked(server)["items"]
    assert one["kept"] == ["Seen 2 tasks in 0 days: too little to narrow."] and not one["diff"]
    found = asked(server, force="yes")
    (one,) = found["items"]
    assert one["narrowing"]["tools"] == ["pay"] and one["narrowing"]["credentials"] == ["rs", "shown"]
    assert '-tool = "pay"' in one["diff"] and found["broken"] == 0
    assert found["replay"]["replayed"] >= 5 and found["against"].startswith("sha256:")
    counts = {use["tool"]: (use["permitted"], use["held"], use["denied"]) for use in one["uses"]}
    assert counts == {"list": (2, 0, 0), "pay": (0, 3, 3)}


def test_an_agents_are_its_purposes_and_nobody_is_absent(server):
    assert [one["purpose"] for one in asked(server, "other")["items"]] == ["part"]
    assert [one["purpose"] for one in asked(server, "")["items"]] == ["part", "pay", "whole"]
    http = server.http("anna")
    assert http.get("/v1/rightsize", params={"of": "nobody"}).status_code == 404
    assert http.get("/v1/rightsize", params={"days": "0"}).status_code == 400
    assert server.http("olga").get("/v1/rightsize").status_code == 403


def test_the_command_line_writes_a_diff_over_what_is_in_force_alone(server, tmp_path):
    for name, text in CATALOGUE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    dry = server.cli("rightsize", "pay", "--force", "--write", str(tmp_path), "--dry-run")
    assert dry.returncode == 0 and "0 would have been refused" in dry.stdout, dry.stderr
    assert (tmp_path / "purposes/pay.toml").read_text() == CATALOGUE["purposes/pay.toml"]
    (tmp_path / "purposes/pay.toml").write_text("# mine\n" + CATALOGUE["purposes/pay.toml"])
    assert server.cli("rightsize", "pay", "--force", "--write", str(tmp_path)).returncode == 1
    (tmp_path / "purposes/pay.toml").write_text(CATALOGUE["purposes/pay.toml"])
    assert server.cli("rightsize", "pay", "--force", "--write", str(tmp_path)).returncode == 0
    assert 'tool = "pay"' not in (tmp_path / "purposes/pay.toml").read_text()
    planned = server.cli("plan", str(tmp_path), "--replay", "100")
    assert planned.returncode == 0 and "~ purpose pay" in planned.stdout, planned.stderr


def test_a_diff_to_take_away_and_the_page_that_links_to_it(server):
    answer = server.http("anna").get("/v1/rightsize/diff", params={"of": "pay", "force": "yes"})
    assert answer.text.startswith("--- a/purposes/pay.toml\n+++ b/purposes/pay.toml\n")
    page = server.http("anna").get("/console/purposes/pay", headers={"Accept": "text/html"}).text
    assert "never used" in page and "/v1/rightsize/diff?of=pay" in page
    assert server.http("olga").get("/console/purposes/pay.json").json()["uses"]
    assert server.http("frank").get("/console/purposes/pay.json").json()["uses"] is None


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
    for call, task in ((bot, old), (other, new)):
        now = replace(call, now=found.clock.now)
        assert word(await decide(found.env, now, Access(task.id, "list", {"customer": "acme"}))) == "permit"
    await settled(found)
    return found


@ran
async def test_what_a_real_call_needs_is_put_back():
    found = await busy()
    done = await rightsize(found.env, found.store, ["pay"], now=found.clock.now, days=1, force=True)
    (one,) = done.proposals
    assert one.seen.agents == {"other"} and one.kept[-1] == "bot stays: 1 real calls would have been refused."
    assert (one.narrowing.agents, one.narrowing.tools) == (frozenset(), {"mail"})
    assert done.broken == 0 and done.replayed is not None and done.replayed.replayed == 2


@ran
async def test_what_is_refused_already_is_no_loss():
    """A call that was made under a wider purpose stands in no later proposal's way."""
    found = await busy()
    await apply(
        found.env,
        found.call(CallerKind.OPERATOR, "op"),
        changed(purposes__pay_dot_toml=LONG.replace('"bot", "other"', '"other"'), policies__default_dot_cedar=EVER),
    )
    done = await rightsize(found.env, found.store, ["pay"], now=found.clock.now, days=1, force=True)
    (one,) = done.proposals
    assert one.narrowing.tools == {"mail"} and done.replayed is not None and done.broken == 0
