"""A catalogue is asked, before it is applied, about what was really decided."""

from __future__ import annotations

import time

import pytest

from tests.server import CATALOGUE, furnished, process
from tests.web.test_delegation import accept, hand, opened, whole

WITHIN = '@id("within") permit (principal, action, resource);\n'
PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Three listings, one of them after two payments: one held, one agreed to and made. Then one below a hand-off."""
    with process(tmp_path_factory.mktemp("replay") / "data") as running:
        server = furnished(running)
        bot = server.agent()
        task, token = bot.task()
        assert bot.call(task, token)["decision"] == "permit"
        assert bot.call(task, token)["decision"] == "permit"
        held = bot.call(task, token, "pay", PAY)
        shown = server.http("frank").get(f"/v1/approvals/{held['approval']['id']}").json()
        body = {"digest": shown["digest"], "yes": True}
        assert server.http("frank").post(f"/v1/approvals/{shown['id']}/answer", json=body).status_code == 200
        assert bot.call(task, token, "pay", PAY)["decision"] == "permit"
        assert bot.call(task, token, "pay", {**PAY, "invoice": 18})["decision"] == "hold"
        assert bot.call(task, token)["decision"] == "permit"
        assert bot.call(task, token, "list", {"customer": "other"})["decision"] == "deny"  # before any policy
        lead, other = server.agent("lead"), server.agent("other")
        child, below = opened(accept(other, hand(lead, *whole(lead)).json()["delegation_token"]))
        assert other.call(child, below)["decision"] == "permit"
        for _ in range(100):
            events = server.http("anna").get("/v1/log/entries", params={"limit": 1000}).text
            if events.count('"AccessDecided"') == 8:
                break
            time.sleep(0.05)
        yield server


def replayed(server, policy="", who="anna", decisions=1000, since=0, **files):
    changed = {**CATALOGUE, **files}
    if policy:
        changed["policies/default.cedar"] = policy
    answer = server.http(who).post(
        "/v1/catalogue/replay", json={"files": changed, "decisions": decisions, "since": since}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def flips(found):
    return [(flip["tool"], flip["was"], flip["would_be"]) for flip in found["changed"]]


def test_the_same_catalogue_would_have_decided_the_same(server):
    found = replayed(server)
    assert (found["replayed"], found["differ"], found["unknown"], found["changed"]) == (7, 0, 0, [])
    assert found["since"] > time.time() * 1000 - 600_000


def test_what_was_held_would_not_be(server):
    found = replayed(server, WITHIN)
    assert flips(found) == [("pay", "hold", "permit")] * 3
    assert found["changed"][0]["why"] == ["A policy permits this."]
    index = found["changed"][0]["index"]
    leaf = server.http("anna").get("/v1/log/entries", params={"start": index, "limit": 1}).json()
    assert leaf["type"] == "AccessDecided" and leaf["data"]["tool"] == "pay"


def test_arguments_are_known_of_what_a_person_was_asked_and_of_nothing_else(server):
    about = (
        WITHIN + '@id("seventeen") forbid (principal, action == Remit::Action::"pay", resource)'
        " when { context.arguments.invoice == 17 };\n"
        '@id("listing") forbid (principal, action == Remit::Action::"list", resource)'
        ' when { context.arguments.customer == "acme" };\n'
    )
    found = replayed(server, about)
    assert flips(found) == [("pay", "hold", "permit"), ("pay", "hold", "deny"), ("pay", "hold", "deny")]
    assert (found["replayed"], found["unknown"]) == (3, 4)


def test_the_moment_is_as_it_was_then(server):
    rule = '@id("r") forbid (principal, action == Remit::Action::"{}", resource) when {{ context.{} }};\n'
    assert flips(replayed(server, WITHIN + rule.format("pay", "repeats >= 1")))[0] == ("pay", "hold", "deny")
    assert len(flips(replayed(server, WITHIN + rule.format("list", "calls >= 2")))) == 4  # the last, and the payments
    assert flips(replayed(server, WITHIN + rule.format("list", "calls == 1")))[-1] == ("list", "permit", "deny")


def test_who_or_what_is_no_longer_there_would_be_refused(server):
    without = {name: text for name, text in CATALOGUE.items() if name not in ("tools/pay.toml", "purposes/part.toml")}
    without["purposes/pay.toml"] = CATALOGUE["purposes/pay.toml"].replace(
        '[[grants]]\ntool = "pay"\nresource = "customer/{customer}/*"\n', ""
    )
    answer = server.http("operator").post("/v1/catalogue/replay", json={"files": without})
    assert answer.status_code == 400 and "part" in answer.text  # `whole` hands on to a purpose that is not there
    whole = CATALOGUE["purposes/whole.toml"].partition("[[delegations]]")[0]
    without["purposes/whole.toml"] = whole.replace("max_depth = 1\n", "")
    found = server.http("operator").post("/v1/catalogue/replay", json={"files": without}).json()
    assert flips(found) == [("list", "permit", "deny")] + [("pay", "hold", "deny")] * 3
    assert found["changed"][1]["why"] == ["Nobody has reviewed a tool 'pay'."]


def test_below_a_hand_off_it_goes_by_everybody_above(server):
    rule = '@id("r") forbid (principal, action, resource) when { context.chain_depth == 1 && context.tier == "%s" };\n'
    assert flips(replayed(server, WITHIN + rule % "assistant"))[:1] == [("list", "permit", "deny")]
    wild = 'tier = "autonomous"\n' + CATALOGUE["agents/lead.toml"]
    found = replayed(server, WITHIN + rule % "autonomous", **{"agents/lead.toml": wild})
    assert flips(found)[:1] == [("list", "permit", "deny")]
    assert replayed(server, CATALOGUE["policies/default.cedar"])["differ"] == 0


def test_so_many_of_the_newest_and_none_before(server):
    found = replayed(server, WITHIN, decisions=2)
    assert found["replayed"] == 2 and flips(found) == []
    assert replayed(server, since=int(time.time() * 1000) + 1000)["replayed"] == 0
    for decisions in (0, 10_001):
        body = {"files": CATALOGUE, "decisions": decisions}
        assert server.http("anna").post("/v1/catalogue/replay", json=body).status_code == 400


def test_a_plan_says_what_it_would_have_changed(server, tmp_path):
    for name, text in {**CATALOGUE, "policies/default.cedar": WITHIN}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    said = server.cli("plan", str(tmp_path), "--replay", "100")
    assert said.returncode == 0, said.stderr
    assert "Of the newest 7 decisions, 3 would differ." in said.stdout and "hold → permit  bot pay" in said.stdout
    assert server.cli("--json", "plan", str(tmp_path)).stdout.find("replay") == -1
