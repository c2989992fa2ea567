"""A campaign of reviews in a real browser, over HTTP and by the command line: shown, answered, signed, enforced."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.server import CATALOGUE, eventually

from .browser import HOSTILE, console, looking
from .test_approvals import authenticator

PHONE = {"width": 360, "height": 740}
AGENTS = ("bot", "lead", "other")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    deputy = 'owner = "olga"\ndeputy = "dana"\n'
    files = {**CATALOGUE, **{f"agents/{a}.toml": CATALOGUE[f"agents/{a}.toml"].replace('owner = "olga"\n', deputy) for a in AGENTS}}  # fmt: skip
    with console(tmp_path_factory.mktemp("reviews") / "data", files) as running:
        yield running


@pytest.fixture(scope="module")
def bot(server):
    """It listed, and asked to pay, which waits for somebody."""
    bot = server.agent()
    task, token = bot.task()
    assert bot.call(task, token)["decision"] == "permit"
    held = bot.call(task, token, "pay", {"customer": "acme", "invoice": 1, "amount": "1.00"})
    assert held["decision"] == "hold"
    approval = server.http("frank").get(f"/v1/approvals/{held['approval']['id']}").json()
    no = {"digest": approval["digest"], "yes": False, "note": "not now"}
    assert server.http("frank").post(f"/v1/approvals/{approval['id']}/answer", json=no).status_code == 200
    return lambda tool, arguments: bot.call(task, token, tool, arguments)


def opened(server, *agents, **more):
    wanted = {"agents": list(agents)} if agents else {"all": True}
    answer = server.http("operator").post("/v1/reviews", json={**wanted, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def answered(server, agent, verdict, who="olga", **more):
    http = server.http(who)
    seen = eventually(lambda: http.get(f"/v1/reviews/{agent}"), lambda one: one.status_code == 200).json()
    body = {"digest": seen["digest"], "upto": seen["upto"], "answer": verdict, **more}
    return http.post(f"/v1/reviews/{agent}/answer", json=body)


def test_a_busy_owner_goes_from_one_to_the_next_and_each_answer_is_enforced_at_once(browser, server, bot):
    assert opened(server, campaign="autumn") == {"opened": list(AGENTS), "waited": 0}
    with looking(browser, server) as look:
        page = look.sign_in("olga", "person").page
        page.get_by_role("link", name="3 agents to review").click()
        expect(page.get_by_role("heading", name="Reviews")).to_be_visible()
        look.fit()
        page.get_by_role("link", name="bot").click()
        expect(page.get_by_text("asked for: 1 held, 0 denied")).to_be_visible()
        expect(page.get_by_text("frank said no")).to_be_visible()
        look.fit()
        page.get_by_role("button", name="Narrow to what it used").click()
        page.wait_for_url("**/console/reviews/lead")
        expect(page.get_by_text("never used 0 of the 2")).to_be_visible()  # what it hands on with is not its alone
        page.get_by_role("button", name="Keep it as it is").click()
        page.wait_for_url("**/console/reviews/other")
        page.get_by_placeholder("Why?").fill(" ".join(HOSTILE))
        page.get_by_role("button", name="Retire it").click()
        page.wait_for_url("**/console/reviews")
        expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
        look.go("/console/reviews/bot")
        expect(page.get_by_text("olga said: narrow")).to_be_visible()
    denied = bot("pay", {"customer": "acme", "invoice": 2, "amount": "1.00"})
    assert denied["decision"] == "deny" and "out_of_scope" in json.dumps(denied), denied
    assert bot("list", {"customer": "acme"})["decision"] == "permit"
    frozen = server.http("operator").get("/v1/freezes").json()["items"]
    assert [(one["reach"], one["name"]) for one in frozen] == [("agent", "other")]


@pytest.mark.parametrize("script", [True, False])
def test_what_people_wrote_is_shown_and_runs_nothing_also_on_a_phone(browser, server, bot, script):
    with looking(browser, server, viewport=PHONE, java_script_enabled=script) as look:
        page = look.sign_in("", "auditor").page
        look.go("/console/reviews/other")
        expect(page.get_by_text(HOSTILE[0])).to_be_visible()
        expect(page.get_by_role("button", name="Retire it")).to_have_count(0)
        if script:
            look.fit()
            look.go("/console/reviews?q=autumn")
            look.fit()


def test_without_a_script_a_review_is_answered_on_a_phone(browser, server, bot):
    opened(server, "bot")
    with looking(browser, server, viewport=PHONE, java_script_enabled=False) as look:
        page = look.sign_in("dana", "person").page
        look.go("/console/reviews/bot")
        page.get_by_role("button", name="Keep it, and give back what was taken").click()
        page.wait_for_url("**/console/reviews")
    assert bot("pay", {"customer": "acme", "invoice": 3, "amount": "1.00"})["decision"] == "hold"


def test_who_has_a_passkey_keeps_by_it_alone_and_the_log_has_the_signature(browser, server, bot):
    opened(server, "lead")
    with looking(browser, server) as look:
        page = look.sign_in("olga", "person").page
        authenticator(page)
        look.go("/console/passkeys")
        page.get_by_label("Name").fill("laptop")
        page.get_by_role("button", name="Register a passkey").click()
        expect(page.get_by_role("cell", name="laptop")).to_be_visible()
        refused = answered(server, "lead", "keep")
        assert refused.status_code == 403 and refused.json()["reasons"] == ["passkey_wanted"]
        look.go("/console/reviews/lead")
        with page.expect_request("**/answer") as sent:
            page.get_by_role("button", name="Keep it as it is, with passkey").click()
        page.wait_for_url("**/console/reviews")
    signed = json.loads(dict(httpx.QueryParams(sent.value.post_data))["signed"])
    done = server.http("anna").get("/v1/reviews/lead").json()
    assert done["passkey"] == signed["passkey"] and done["verdict"] == "keep"
    opened(server, "lead")
    again = answered(server, "lead", "keep", signed=signed)  # of the review before
    assert again.status_code == 403 and again.json()["code"] == "RMT-3005", again.text
    assert answered(server, "lead", "narrow").status_code == 200  # takes away only, so it needs none


def test_what_is_not_yours_is_not_there(server, bot):
    opened(server, "bot")
    assert server.http("frank").get("/v1/reviews").json()["items"] == []
    for http, path in ((server.http("frank"), "bot"), (server.http("olga"), "nobody")):
        assert http.get(f"/v1/reviews/{path}").status_code == 404
    assert server.http("olga").get("/v1/reviews/bot/change").status_code == 403  # files are not everybody's
    absent = server.http("frank").get("/v1/reviews/nobody").json()
    assert server.http("frank").get("/v1/reviews/bot").json() == absent
    assert answered(server, "bot", "maybe").status_code == 400
    old = {"digest": "x", "upto": 1, "answer": "keep"}
    answer = server.http("olga").post("/v1/reviews/bot/answer", json=old)
    assert answer.status_code == 400 and "upto" in answer.json()["detail"]
    for body in ({}, {"agents": ["bot"], "all": True}, {"agents": ["nobody"]}):
        assert server.http("operator").post("/v1/reviews", json=body).status_code in (400, 404)


def test_by_the_command_line(server, bot, tmp_path):
    asked = server.cli("review", "open", "bot", "--campaign", "winter")
    assert asked.returncode == 0, asked.stderr
    key = {"REMIT_KEY": server.keys["dana"], "REMIT_URL": server.url}
    listed = server.cli("review", "list", **key)
    assert re.search(r"bot +open", listed.stdout), listed.stdout + listed.stderr
    shown = eventually(lambda: server.cli("review", "show", "bot", **key), lambda one: one.returncode == 0)
    assert "never used" in shown.stdout and "pay tool pay" in shown.stdout
    done = server.cli("review", "answer", "bot", "narrow", **key)
    assert done.returncode == 0 and "remit review change bot" in done.stdout, done.stdout + done.stderr
    files = server.http("operator").get("/v1/catalogue").json()["files"]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    diff = server.cli("review", "change", "bot").stdout
    assert '-tool = "pay"' in diff and "--- a/purposes/pay.toml" in diff
    written = server.cli("review", "change", "bot", "--write", str(tmp_path))
    assert written.returncode == 0, written.stderr
    text = (tmp_path / "purposes/pay.toml").read_text()
    assert 'tool = "list"' in text and 'tool = "pay"' not in text
    assert server.cli("review", "change", "bot", "--write", str(tmp_path)).returncode == 1  # no more what is in force
