"""Agents in the console: how they are held, what they never use, and what people may not see of them."""

from __future__ import annotations

import pytest

from tests.delegating import AGENT
from tests.server import CATALOGUE, eventually

from .browser import HOSTILE, console, looking

MANY = {f"agents/many{n:02}.toml": AGENT.replace("olga", "dana") for n in range(60)}
TITLED = f"title = '''{HOSTILE[2]}'''\n" + CATALOGUE["agents/bot.toml"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with console(
        tmp_path_factory.mktemp("agents") / "data", {**CATALOGUE, **MANY, "agents/bot.toml": TITLED}
    ) as running:
        yield running


def shown(http, name="bot"):
    return http.get(f"/console/agents/{name}.json").json()


def test_what_was_granted_and_never_used_is_said_first(server):
    bot, http = server.agent(), server.http("olga")
    assert [(one["tool"], one["last_permit"]) for one in shown(http)["access"]] == [("list", 0), ("pay", 0)]
    task, token = bot.task()
    bot.call(task, token)
    bot.call(task, token, "pay", {"customer": "acme", "invoice": 1, "amount": "1.00"})  # held, so not used
    found = eventually(lambda: shown(http), lambda it: it["access"][-1]["last_permit"])
    assert [(one["tool"], bool(one["last_permit"]), one["purposes"]) for one in found["access"]] == [
        ("pay", False, ["pay"]),
        ("list", True, ["pay"]),
    ]
    assert found["last_use"] >= found["access"][-1]["last_permit"]
    assert (found["enforcement"]["grade"], "advice" in found["enforcement"]["means"]) == ("hook", True)
    (proof,) = found["identities"]
    assert (proof["method"], proof["stale"]) == ("join_token", "") and proof["spiffe_id"].endswith("/agent/bot")
    bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"})
    assert [(one["task"], one["state"]) for one in shown(http)["leases"]] == [(task, "live")]
    server.http("operator").post(f"/v1/tasks/{task}/end", json={"reason": "done"})
    assert task not in str(shown(http)["tasks"]) and shown(http)["leases"] == []


def test_no_name_that_an_agent_makes_up_counts_as_use(server):
    lead, http = server.agent("lead"), server.http("olga")
    answer = lead.token({"type": "whole", "goal": "pretend", "parameters": {"customer": "acme"}})
    task, token = answer.json()["authorization_details"][0]["task"], answer.json()["access_token"]
    for strange in ("permitted lead list", "permitted:lead:list", "used other", "used:other"):
        assert lead.call(task, token, strange, {})["decision"] == "deny"
    eventually(lambda: shown(http, "lead"), lambda it: it["last_use"])
    assert [one["last_permit"] for one in shown(http, "lead")["access"]] == [0]
    assert shown(http, "other")["last_use"] == 0


def test_what_an_agent_did_is_for_its_owner_and_the_logs_readers(server):
    _, token = server.agent().task(goal="olga's alone")
    assert token
    olga, frank = shown(server.http("olga")), shown(server.http("frank"))
    assert "olga's alone" in str(olga["tasks"])
    assert (frank["tasks"], frank["leases"], frank["access"], frank["last_use"]) == ([], [], [], None)
    assert frank["agent"] == olga["agent"] == server.http("frank").get("/v1/agents").json()["items"][0]
    assert frank["identities"] == olga["identities"]  # as the API says them to everybody
    rows = {one["name"]: one["last_use"] for one in server.http("frank").get("/console/agents.json").json()["items"]}
    assert set(rows.values()) == {None}


def test_the_inventory_is_filtered_and_read_on_by_url(server):
    http = server.http("anna")
    first = http.get("/console/agents.json").json()
    assert (len(first["items"]), first["total"], first["next"]) == (50, 63, "many47")
    rest = http.get("/console/agents.json?after=many47").json()
    assert (len(rest["items"]), rest["items"][0]["name"], rest["next"]) == (13, "many48", "")
    found = http.get("/console/agents.json?q=DANA+many1").json()
    assert {one["name"] for one in found["items"]} == {f"many{n}" for n in range(10, 20)}


def test_titles_are_shown_and_never_run(server):
    for path in ("/console/agents", "/console/agents/bot"):
        text = server.http("anna").get(path, headers={"Accept": "text/html"}).text
        assert "onload=window.xss=1" in text and "<svg onload" not in text
        assert "remit agent invite" not in text  # an auditor may not
    operators = server.http("operator").get("/console/agents/bot", headers={"Accept": "text/html"}).text
    assert "remit agent invite bot" in operators


def test_an_agent_that_is_not_there_is_not_found(server):
    assert server.http("frank").get("/console/agents/nobody.json").status_code == 404


def test_whatever_strangers_and_servers_call_themselves_is_read_and_never_run(server, browser):
    """Names from requests that were refused, and from an enforcement point that repeats what a server says."""
    for name in HOSTILE:
        form = {"grant_type": "client_credentials", "client_id": name}
        assert server.http().post("/oauth/token", data=form).status_code == 401
    gate = server.http("gate")
    assert gate.post("/v1/shadows", json={"source": HOSTILE[2], "tools": [*HOSTILE, "w" * 200]}).status_code == 204
    wanted = 2 * len(HOSTILE) + 1
    found = eventually(
        lambda: server.http("anna").get("/console/agents.json").json()["shadows"], lambda it: len(it) >= wanted
    )
    assert len({one["id"] for one in found}) == wanted
    for size in ({"width": 1280, "height": 900}, {"width": 390, "height": 800}):
        with looking(browser, server, viewport=size) as looked:
            page = looked.sign_in("", "auditor").go("/console/agents")
            looked.fit()
            rows = page.locator("#shadows tbody tr")
            assert rows.count() == wanted
            assert HOSTILE[0] in page.locator("#shadows tbody").inner_text(), "as it is written"
            assert page.locator("#shadows tbody").locator("script, img, svg, iframe, a, math").count() == 0
            assert page.locator("#shadows form").count() == 0, "an auditor dismisses nothing"
    assert server.http("dana").get("/console/agents.json").json()["shadows"] == []
    with looking(browser, server, viewport={"width": 390, "height": 800}) as looked:
        page = looked.sign_in("", "operator").go("/console/agents")
        looked.fit()
        row = page.locator(f"#{found[0]['id']}")
        row.get_by_label("Why it need not be shown").fill(HOSTILE[1])
        row.get_by_role("button", name="Dismiss").click()
        page.wait_for_url("**/console/agents")
        assert page.locator("#shadows tbody tr").count() == wanted - 1 and row.count() == 0
        looked.fit()
    assert server.http("anna").get(f"/v1/shadows/{found[0]['id']}").json()["note"] == HOSTILE[1]
