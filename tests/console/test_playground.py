"""The catalogue in the console, and its playground: it decides as the server does, and applies nothing."""

from __future__ import annotations

import time

import pytest

from tests.server import CATALOGUE, eventually

from .browser import HOSTILE, console
from .signed_in import SignedIn

POLICY = CATALOGUE["policies/default.cedar"]
STRICTER = POLICY + '@id("no-list") forbid (principal, action == Remit::Action::"list", resource);'
FILES = {
    **CATALOGUE,
    "tools/list.toml": f"title = '''{HOSTILE[2]}'''\n" + CATALOGUE["tools/list.toml"],
    "policies/more.cedar": '@id("never-mail") @says("<b>no</b>") forbid (principal, action in Remit::Action::"call", resource)\n'
    "when { resource.egress };\n",
}
CALL = {
    "agent": "bot",
    "purpose": "pay",
    "tool": "pay",
    "arguments": '{"customer": "acme", "invoice": 1, "amount": "1.00"}',
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with console(tmp_path_factory.mktemp("playground") / "data", FILES) as running:
        yield running


@pytest.fixture(scope="module")
def anna(server):
    return SignedIn(server, "anna", "auditor")


def tried(anna, **given):
    anna.http.headers["Accept"] = "application/json"
    try:
        token = {"form_token": anna.token}
        answer = anna.http.post(
            "/console/playground", data={**token, "file": "policies/default.cedar", **CALL, **given}
        )
    finally:
        anna.http.headers["Accept"] = "text/html"
    assert answer.status_code == 200, answer.text
    return answer.json()["found"]


def test_it_decides_as_the_server_does_and_says_why(server, anna):
    found = tried(anna)
    assert (found["decision"], found["decided"], found["edited"], found["replay"]) == (
        "hold",
        ["hold-irreversible"],
        False,
        None,
    )
    assert found["as_if_approved"] == ["within"] and "never-mail" in found["considered"]
    assert found["why"][0]["sentence"] == "pay cannot be undone; finance must agree." and found["notes"] == []
    bot = server.agent()
    task, token = bot.task()
    real = bot.call(task, token, "pay", {"customer": "acme", "invoice": 1, "amount": "1.00"})
    assert (real["decision"], real["why"][0]["sentence"]) == (found["decision"], found["why"][0]["sentence"])
    assert tried(anna, tool="list", arguments='{"customer": "acme"}')["decision"] == "permit"


def test_what_would_be_refused_before_any_policy_is_asked_is_said(anna):
    notes = tried(anna, agent="lead", purpose="whole", arguments='{"customer": 1}')["notes"]
    assert [note.partition(",")[0] for note in notes] == ["whole does not grant pay", "The arguments do not fit"]
    assert "is not for bot" in tried(anna, purpose="whole")["notes"][0]


def test_an_edited_policy_is_asked_about_what_was_really_decided_and_is_not_applied(server, anna):
    bot = server.agent()
    task, token = bot.task()
    bot.call(task, token)
    listed = {
        "tool": "list",
        "arguments": '{"customer": "acme"}',
        "policy": STRICTER.replace("\n", "\r\n"),
        "decisions": "100",
    }
    found = eventually(lambda: tried(anna, **listed), lambda it: task in str(it["replay"]))
    assert (found["was"], found["decision"], found["edited"]) == ("permit", "deny", True)
    (flip,) = [one for one in found["replay"]["changed"] if one["task"] == task]
    assert (flip["was"], flip["would_be"], flip["tool"]) == ("permit", "deny", "list")
    assert bot.call(task, token)["decision"] == "permit"
    assert server.http("operator").get("/v1/catalogue").json()["number"] == 2
    assert tried(anna, policy="\n" + POLICY.strip(), decisions="100")["edited"] is False


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"policy": POLICY + "\n\nforbid (principal, action, resource) wen { true };"}, "policies/default.cedar:8: "),
        ({"policy": POLICY + '\n@id("x") forbid (principal, action, resource) when { context.nothing };'}, "policies/default.cedar:7: "),
        ({"policy": '@id("x") permit (principal, action, resource) when {' + "(" * 9000 + "true" + ")" * 9000 + "};"}, "nested too deeply"),
        ({"policy": "x" * 40_001}, "one of those that can be edited"),
        ({"arguments": "{"}, "JSON"),
        ({"arguments": "[" * 3000}, "JSON|deep"),
        ({"arguments": "[]"}, "must be a JSON object"),
        ({"tool": "nothing"}, "one of the catalogue's"),
        ({"trust": "<b>"}, "trusted, untrusted"),
        ({"repeats": "-1"}, "whole number"),
        ({"file": "../../etc/passwd"}, "one of those that can be edited"),
        ({"policy": STRICTER, "decisions": "501"}, "at most 500"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_breaks(anna, given, says):
    import re

    assert re.search(says, tried(anna, **given)["error"]), given
    assert tried(anna)["decision"] == "hold"


def test_the_page_says_it_too(server, anna):
    page = anna.post(
        "/console/playground",
        file="policies/default.cedar",
        **{**CALL, "policy": STRICTER, "tool": "list", "decisions": "100"},
    ).text
    assert "is-deny" in page and "instead of" in page and "remit plan . --replay 1000" in page
    assert "would be another" in page and "Nothing is applied from here." in page
    assert (
        "nested too deeply"
        in anna.post("/console/playground", file="policies/default.cedar", **CALL, policy="(" * 99).text
    )


def test_an_edited_policy_is_asked_about_many_decisions_within_its_time(server, anna):
    bot = server.agent()
    task, token = bot.task()
    for _ in range(20):
        bot.call(task, token)
    eventually(lambda: tried(anna, policy=STRICTER, decisions="500"), lambda it: it["replay"]["differ"] >= 20)
    began = time.monotonic()
    assert tried(anna, policy=STRICTER, decisions="500")["replay"]["differ"] >= 20
    assert time.monotonic() - began < 5


def test_the_playground_is_for_operators_and_auditors(server):
    frank = SignedIn(server, "frank")
    assert frank.http.get("/console/playground").status_code == 403
    assert frank.post("/console/playground", **CALL).status_code == 403


def test_people_see_the_catalogue_as_the_api_gives_it_and_nothing_of_the_log_or_the_files(server, anna):
    frank = server.http("frank")
    seen = frank.get("/console/catalogue.json").json()
    assert [one["name"] for one in seen["purposes"]] == ["part", "pay", "whole"]
    assert (seen["policies"], seen["revisions"], seen["applied_by"]) == ([], [], "")
    for noun, name in (("purposes", "pay"), ("tools", "list")):
        found = frank.get(f"/console/{noun}/{name}.json").json()
        assert found[noun[:-1]] == frank.get(f"/v1/{noun}/{name}").json()
        assert (found["file"], found["changed"]) == ("", [])
        assert frank.get(f"/console/{noun}/nothing.json").status_code == 404
    tool = anna.json("/console/tools/list")
    assert "title = " in tool["file"] and tool["granted_by"] == ["part", "pay", "whole"]
    assert [(one["by"], one["summary"]) for one in tool["changed"]] == [("operator:local", ["+ tool list"])]


def test_titles_and_sentences_are_shown_and_never_run(anna):
    text = (
        anna.page("/console/catalogue")
        + anna.page("/console/tools/list")
        + anna.page("/console/playground?file=policies/more.cedar")
    )
    assert "<svg onload" not in text and "&lt;b&gt;no&lt;/b&gt;" in text and "<b>no</b>" not in text
    answer = anna.post(
        "/console/playground", **{**CALL, "arguments": '{"</textarea><script>": 1}', "file": "policies/more.cedar"}
    )
    assert answer.status_code == 200 and "<script>" not in answer.text.replace("<script src=", "")
