"""The story of a task: what is told, to whom, how it is drawn, and ending it from its page."""

from __future__ import annotations

import re

import pytest

from remit.web.console.drawing import drawn
from tests.delegating import AGENT
from tests.server import CATALOGUE, eventually

from .browser import HOSTILE, console
from .signed_in import SignedIn

FILES = {
    **CATALOGUE,
    "agents/third.toml": AGENT.replace("olga", "dana"),
    "purposes/part.toml": CATALOGUE["purposes/part.toml"]
    .replace('owner = "olga"', 'owner = "dana"')
    .replace('agents = ["other"]', 'agents = ["other", "third"]'),
    "purposes/whole.toml": CATALOGUE["purposes/whole.toml"].replace(
        'agents = ["other"]', 'agents = ["other", "third"]'
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with console(tmp_path_factory.mktemp("task") / "data", FILES) as running:
        yield running


@pytest.fixture(scope="module")
def story(server):
    """A task that read, was held and allowed, was denied, got a credential, and handed parts on to two agents."""
    lead = server.agent("lead")
    answer = lead.token({"type": "whole", "goal": HOSTILE[0], "parameters": {"customer": "acme"}})
    task, token = answer.json()["authorization_details"][0]["task"], answer.json()["access_token"]
    lead.call(task, token)
    lead.send("POST", f"/v1/tasks/{task}/observations", token, {"tool": "list", "content": {"customer": "acme"}})
    lead.call(task, token, HOSTILE[1][:60], {})
    assert lead.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}).status_code == 201
    children = {name: handed(server, lead, task, token, name) for name in ("other", "third")}
    return task, children


def handed(server, lead, task, token, name):
    """Part of the task for another agent, which does something of it."""
    part = {
        "agent": name,
        "purpose": "part",
        "goal": f"{name}'s part",
        "parameters": {"customer": "acme"},
        "max_calls": 2,
    }
    given = lead.send("POST", f"/v1/tasks/{task}/delegations", token, part)
    assert given.status_code == 201, given.text
    agent = server.agent(name)
    wanted = {key: part[key] for key in ("purpose", "goal", "parameters")}
    opened = agent.send(
        "POST",
        "/v1/tasks",
        agent.token().json()["access_token"],
        {**wanted, "subject_token": given.json()["delegation_token"]},
    )
    assert opened.status_code == 201, opened.text
    child = opened.json()["task"]["id"]
    agent.call(child, opened.json()["access_token"])
    return child


def told(http, task):
    return http.get(f"/console/tasks/{task}.json").json()


def test_everything_that_happened_is_told_in_words_in_order_with_its_proof(server, story):
    task, _ = story
    http = server.http("olga")
    found = eventually(lambda: told(http, task), lambda it: it["events"][-1]["says"].startswith("Handed to third"))
    says = [line["says"] for line in found["events"]]
    assert says[:2] == ["Opened for lead under whole", "Permitted: list"]
    assert "Read a result of list: trusted, internal" in says and "Handed to other for part, with 2 calls" in says
    assert "Credential rs asked of tokens" in " ".join(says) and "Live: rs, confirmed by its issuer" in says
    denied = next(line for line in found["events"] if line["decision"] == "deny")
    assert denied["tone"] == "deny" and denied["why"] == [
        "Nobody reviewed such a tool. Add tools/NAME.toml and `remit apply`."
    ]
    assert [line["label"] for line in found["events"] if line["label"]][:2] == ["trusted, public", "trusted, internal"]
    assert [lane["agent"] for lane in found["lanes"]] == ["lead", "other"]  # olga does not answer for third
    assert [step["sensitivity"] for step in found["lanes"][0]["label"]] == ["public", "internal"]
    for line in found["events"]:
        proof = http.get(f"/v1/log/proof/{line['index']}")
        assert proof.status_code == 200 and proof.text.startswith("c2sp.org/tlog-proof@v1")
        assert http.get(f"/console/log/{line['index']}.json").json()["receipt"].startswith("c2sp.org/tlog-proof@v1")


def test_people_are_told_of_the_parts_they_may_see_and_of_nothing_else(server, story):
    task, children = story
    dana = server.http("dana")  # answers for third, and for the purpose of both parts, not for the whole
    assert dana.get(f"/console/tasks/{task}.json").status_code == 404
    found = eventually(lambda: told(dana, children["third"]), lambda it: len(it["events"]) >= 2)
    assert {line["of"] for line in found["events"]} == {children["third"]}
    assert [lane["task"] for lane in found["lanes"]] == [children["third"]]
    assert children["other"] not in str(found) and HOSTILE[0] not in str(found)
    hidden = told(server.http("olga"), task)["events"][0]["index"]
    for path in (f"/console/log/{hidden}.json", f"/v1/log/proof/{hidden}"):
        absent = path.replace(str(hidden), "99999999")
        assert (dana.get(path).status_code, dana.get(path).content) == (404, dana.get(absent).content)
    assert dana.get(f"/v1/log/proof/{found['events'][0]['index']}").status_code == 200
    assert (
        server.http("frank").get(f"/console/tasks/{task}.json").content == dana.get("/console/tasks/tsk_x.json").content
    )


def test_a_task_is_ended_from_its_page_and_only_by_who_may(server, story):
    task, _ = server.agent().task(goal="end me")
    olga, frank, anna = SignedIn(server, "olga"), SignedIn(server, "frank"), SignedIn(server, "anna", "auditor")
    assert f'action="/console/tasks/{task}/end"' in olga.page(f"/console/tasks/{task}")
    assert f'action="/console/tasks/{task}/end"' not in anna.page(f"/console/tasks/{task}")
    assert anna.post(f"/console/tasks/{task}/end", reason="x").status_code == 403
    assert frank.post(f"/console/tasks/{task}/end", reason="x").status_code == 404
    assert olga.post(f"/console/tasks/{task}/end", reason="").status_code == 400
    assert olga.http.post(f"/console/tasks/{task}/end", data={"reason": "x"}).status_code == 403  # no form token
    assert olga.json(f"/console/tasks/{task}")["task"]["state"] == "open"
    assert olga.post(f"/console/tasks/{task}/end", reason="<b>done</b>").status_code == 303
    page = olga.page(f"/console/tasks/{task}")
    assert "&lt;b&gt;done&lt;/b&gt;" in page and "<b>done" not in page and "/end" not in page
    found = eventually(
        lambda: olga.json(f"/console/tasks/{task}"), lambda it: it["events"][-1]["type"] == "TaskSettled"
    )
    assert found["lanes"][0]["until"] == found["task"]["ended_at"]


def test_the_picture_says_what_the_list_says(server, story):
    task, _ = story
    page = server.http("olga").get(f"/console/tasks/{task}", headers={"Accept": "text/html"}).text
    picture = page[page.index("<svg width") : page.index("</figure>")]
    assert 'aria-hidden="true"' in picture and picture.count("<script") == 0 and "style=" not in picture
    marks = re.findall(r'href="#e(\d+)"', picture)
    assert marks and all(f'id="e{index}"' in page for index in marks)
    assert len(re.findall('class="mark is-deny"', picture)) == 2  # the one, and the legend's
    assert picture.count('class="hand"') == 1


def lane(task="a", **more):
    kept = {"agent": "bot", "purpose": "pay", "state": "open", "here": True, "parent": ""}
    label = [{"at": more.get("from", 0), "trust": "trusted", "sensitivity": "public"}]
    return {
        "task": task,
        **kept,
        "from": 0,
        "until": 100,
        "label": label,
        "holds": [],
        "marks": [],
        "leases": [],
        **more,
    }


def test_the_worst_mark_is_kept_where_many_would_stand_on_each_other():
    marks = [{"index": n, "at": n, "decision": "deny" if n == 501 else "permit", "says": ""} for n in range(1000)]
    (found,) = drawn([lane(until=1000, marks=marks)])["lanes"]
    assert len(found["marks"]) < 350 and [mark["index"] for mark in found["marks"] if mark["decision"] == "deny"] == [
        501
    ]


def test_nothing_stands_outside_of_the_picture_whatever_the_times_are():
    strange = {"from": 500, "until": -100, "lease": "l", "credential": "c", "issuer": "i", "state": "live"}
    found = drawn(
        [
            lane(
                until=0,
                holds=[{**strange, "approval": "x"}],
                leases=[strange],
                marks=[{"index": 1, "at": 10**15, "decision": "hold", "says": ""}],
            )
        ]
    )
    one = found["lanes"][0]
    for placed in (one, *one["holds"], *one["leases"], *one["marks"]):
        assert 0 <= placed["x"] <= 100 and placed.get("width", 0) >= 0
