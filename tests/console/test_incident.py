"""An incident in the console: the box, the picture, what lives, and nothing run of what was said."""

from __future__ import annotations

import pytest

from tests.server import eventually

from .browser import HOSTILE, looking
from .signed_in import SignedIn


@pytest.fixture(scope="module")
def task(server):
    """A task that called a tool of a strange name, asked people, and holds a secret."""
    bot = server.agent()
    task, token = bot.task(goal=HOSTILE[0])
    bot.call(task, token)
    bot.call(task, token, HOSTILE[1], {})
    bot.call(task, token, "pay", {"customer": "acme", "invoice": 3, "amount": "1.00"})
    bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "shown"})
    said = {"severity": "low", "subject": "task", "name": task, "title": HOSTILE[2]}
    assert server.http("operator").post("/v1/findings", json=said).status_code == 201
    eventually(lambda: twin(server, task)["events"], lambda found: any("Live:" in one["says"] for one in found))
    return task


def twin(server, of, who="anna"):
    return server.http(who).get("/console/incident.json", params={"of": of}).json()


def test_it_is_told_to_who_may_see_it_and_is_nothing_to_others(server, task):
    found = twin(server, task)
    assert found["lanes"][0]["task"] == task and len(found["lanes"][0]["leases"]) == 1
    assert {one["kind"] for one in found["found"]["live"]} >= {"task", "lease", "approval", "agent", "secret"}
    hidden, absent = twin(server, task, "dana"), twin(server, "tsk_" + "0" * 32, "dana")
    assert {**hidden, "of": ""} == {**absent, "of": ""} and hidden["found"] == {}
    assert twin(server, task, "olga")["found"]["is"] == [{"kind": "task", "id": task}]
    assert twin(server, "")["found"] is None


def test_a_session_takes_it_away(server, task):
    anna = SignedIn(server, "anna", "auditor")
    answer = anna.http.get("/v1/incident/export", params={"of": task})
    assert answer.status_code == 200 and answer.headers["Content-Disposition"].endswith('"incident.zip"')
    assert "Take it away" in anna.page(f"/console/incident?of={task}")


def test_in_a_browser(browser, server, task):
    for size in ({"width": 1280, "height": 800}, {"width": 360, "height": 740}):
        with looking(browser, server, viewport=size) as seen:
            seen.sign_in("anna", "auditor")
            page = seen.go("/console/incident")
            seen.fit()
            page.get_by_role("searchbox", name="Identifier").fill(task)
            page.get_by_role("button", name="Tell").click()
            page.get_by_role("heading", name="Alive now").wait_for()
            seen.fit()
            assert page.locator("svg .lease").count() == 1 and f"remit task end {task}" in page.inner_text("#live")
            seen.go("/console/incident?of=%3Cscript%3E%22%27")
            seen.fit()
