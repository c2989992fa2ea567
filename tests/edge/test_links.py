"""A real centre, a real edge, real agents, and a link that is cut, delayed and swallowed; processes that die and stop."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.edge.estate import entries, estate
from tests.server import eventually, process

FILES = {
    "tools/mail.toml": """
effect = "read"
resource = "box/{box}"
output_trust = "untrusted"
[arguments.box]
type = "text"
""",
    "tools/note.toml": """
effect = "write"
resource = "customer/{customer}"
[arguments.customer]
type = "text"
[arguments.to]
type = "text"
decisive = true
""",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with estate(tmp_path_factory.mktemp("links"), stale="2s") as made:
        yield made


@pytest.fixture
def bot(world):
    world.link.heal()
    world.edge.fresh()
    found = world.agent()
    found.http = httpx.Client(trust_env=False, timeout=20)
    yield found
    found.http.close()
    world.link.heal()


def decisions(log, task):
    """(decision, calls before it) of each decision of this task, in order."""
    found = [json.loads(e) if isinstance(e, str) else e for e in log]
    return [
        (e["data"]["decision"], e["data"]["calls"])
        for e in found
        if e["type"] == "AccessDecided" and e["data"]["task"] == task
    ]


def same(world, task) -> None:
    """What happened of it at the edge is at the centre, nothing lost and nothing twice."""

    def both() -> tuple[list[Any], list[Any], list[int]]:
        world.reported()
        there, seat = entries(world.centre.http("operator")), world.edge.status()["seat"]
        ours = [e for e in there if e.get("via", {}).get("seat") == seat]
        places = [e["via"]["index"] for e in there if "via" in e]
        return decisions(ours, task), decisions(world.edge.log(), task), places

    # a busy machine may give the last of it its place after `reported` has looked
    at_centre, at_edge, places = eventually(both, lambda said: said[0] == said[1])
    assert at_centre == at_edge
    assert len(set(places)) == len(places)


def test_revoked_at_the_centre_is_refused_at_the_edge_at_once(world, bot):
    beside = world.at_edge(bot)
    task, token = bot.task()
    assert beside.call(task, token)["decision"] == "permit"
    acknowledged = world.revoke(task)
    refused = eventually(lambda: beside.call(task, token), lambda said: said["decision"] == "deny", 3)
    assert time.monotonic() - acknowledged < 1.5  # pushed, and not waited for
    assert refused["why"][0]["code"] == "task_not_open"


@pytest.mark.parametrize("how", [pytest.param("cut", marks=pytest.mark.soak), "blackhole"])
def test_cut_off_it_permits_until_the_bound_and_never_later(world, bot, how):
    beside = world.at_edge(bot)
    task, token = bot.task()
    assert beside.call(task, token)["decision"] == "permit"
    getattr(world.link, how)()
    acknowledged = world.revoke(task)  # nobody can tell the edge
    last = acknowledged
    while (said := beside.call(task, token))["decision"] == "permit":
        last = time.monotonic()
        assert last - acknowledged < 4
    assert said["why"][0]["code"] == "edge_stale"
    assert last - acknowledged <= 2.2  # the bound, and the way of the answer
    for _ in range(5):
        assert beside.call(task, token)["why"][0]["code"] == "edge_stale"
        time.sleep(0.1)
    other, its = bot.task()
    answer = beside.send("POST", f"/v1/tasks/{other}/calls", its, {"tool": "list", "arguments": {"customer": "acme"}})
    assert answer.status_code == 503 and "centre" in answer.json()["detail"]
    world.link.heal()
    world.edge.fresh()
    assert beside.call(task, token)["why"][0]["code"] == "task_not_open"
    same(world, task)


def test_paused_over_the_bound_it_does_not_let_out_what_it_decided_before(world, bot):
    beside = world.at_edge(bot)
    task, token = bot.task()
    assert beside.call(task, token)["decision"] == "permit"
    with ThreadPoolExecutor(8) as pool:
        for _ in range(1):
            world.edge.fresh()
            body = {"tool": "list", "arguments": {"customer": "acme"}}
            sent = [pool.submit(beside.send, "POST", f"/v1/tasks/{task}/calls", token, body) for _ in range(8)]
            time.sleep(0.01)
            world.edge.pause()
            stopped = time.monotonic()
            world.link.cut()
            time.sleep(2.3)
            world.edge.go_on()
            went_on = time.monotonic()
            for answer in sent:
                found = answer.result(20)
                if found.status_code == 200 and found.json()["decision"] == "permit":
                    assert time.monotonic() - went_on < 2  # it had left before the pause
            assert beside.call(task, token)["why"][0]["code"] == "edge_stale"
            assert went_on - stopped > 2
            world.link.heal()
    world.edge.fresh()
    same(world, task)


def test_a_call_that_needs_a_person_goes_home_and_is_paid(world, bot):
    beside = world.at_edge(bot)
    task, token = bot.task()
    assert beside.call(task, token)["decision"] == "permit"
    pay = {"customer": "acme", "invoice": 7, "amount": "12.50"}
    held = beside.call(task, token, "pay", pay)
    assert held["decision"] == "hold"
    assert held["approval"]["url"].startswith(world.centre.url)
    assert world.home(task) == ""
    with world.centre.http("frank") as http:
        shown = http.get(f"/v1/approvals/{held['approval']['id']}").json()
        said = {"yes": True, "digest": shown["digest"]}
        answer = http.post(f"/v1/approvals/{held['approval']['id']}/answer", json=said)
        assert answer.status_code == 200, answer.text
    paid = beside.call(task, token, "pay", pay)
    assert paid["decision"] == "permit", paid
    again = beside.call(task, token, "pay", pay)
    assert again["decision"] == "hold"  # one use
    same(world, task)


def test_many_first_calls_ask_for_the_task_once(world, bot):
    beside = world.at_edge(bot)
    task, token = bot.task()
    body = {"tool": "list", "arguments": {"customer": "acme"}}
    with ThreadPoolExecutor(16) as pool:
        sent = [pool.submit(beside.send, "POST", f"/v1/tasks/{task}/calls", token, body) for _ in range(16)]
        assert all(one.result().json()["decision"] == "permit" for one in sent)
    world.reported()
    there = entries(world.centre.http("operator"))
    assert len([e for e in there if e["type"] == "TaskEntrusted" and e["data"]["task"] == task]) == 1
    same(world, task)


def test_the_budget_holds_however_often_the_task_moves(world, bot):
    beside = world.at_edge(bot)
    task, token = bot.task(max_calls=24)
    permits = []
    body = {"tool": "list", "arguments": {"customer": "acme"}}

    def work(where):
        for _ in range(8):
            answer = where.send("POST", f"/v1/tasks/{task}/calls", token, body)
            if answer.status_code == 200 and answer.json()["decision"] == "permit":
                permits.append(1)

    threads = [threading.Thread(target=work, args=(where,)) for where in (beside, bot, beside, bot)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.reported()
    with world.centre.http("operator") as http:
        found = eventually(lambda: http.get(f"/v1/tasks/{task}").json(), lambda said: said["calls"] == len(permits))
    assert len(permits) <= 24 and found["calls"] <= 24
    there = entries(world.centre.http("operator"))
    granted = [calls for said, calls in decisions(there, task) if said == "permit"]
    assert granted == list(range(len(permits)))  # in one order, wherever each was decided


def test_killed_in_the_middle_it_goes_on_and_nothing_is_lost_or_twice(world, bot):
    beside = world.at_edge(bot)
    task, token = bot.task()
    body = {"tool": "list", "arguments": {"customer": "acme"}}
    acknowledged = 0
    for _ in range(2):
        deadline = time.monotonic() + 0.6
        killer = threading.Timer(0.3, world.edge.kill)
        killer.start()
        while time.monotonic() < deadline:
            try:
                answer = beside.send("POST", f"/v1/tasks/{task}/calls", token, body)
                acknowledged += answer.status_code == 200 and answer.json()["decision"] == "permit"
            except httpx.HTTPError:
                break
        killer.join()
        world.edge.start()
        world.edge.fresh()
    assert acknowledged
    assert beside.call(task, token)["decision"] == "permit"
    same(world, task)
    with world.centre.http("operator") as http:
        assert http.get(f"/v1/tasks/{task}").json()["calls"] > acknowledged


def test_stopped_it_lets_its_tasks_go_home(world, bot):
    beside = world.at_edge(bot)
    task, token = bot.task()
    assert beside.call(task, token)["decision"] == "permit"
    assert world.home(task) == "east"
    assert world.edge.stop() == 0
    assert world.home(task) == ""
    assert bot.call(task, token)["decision"] == "permit"
    world.edge.start()
    world.edge.fresh()
    assert beside.call(task, token)["decision"] == "permit"
    same(world, task)


def test_a_proof_for_the_centre_is_no_proof_at_the_edge_nor_the_other_way(world, bot):
    task, token = bot.task()
    body = {"tool": "list", "arguments": {"customer": "acme"}}
    path = f"/v1/tasks/{task}/calls"
    for where, other in ((world.edge.url, world.centre.url), (world.centre.url, world.edge.url)):
        headers = {"Authorization": f"DPoP {token}", "DPoP": bot.key.proof("POST", other + path, token)}
        assert bot.http.post(where + path, json=body, headers=headers).status_code == 401
        headers["DPoP"] = bot.key.proof("POST", where + path, token)
        assert bot.http.post(where + path, json=body, headers=headers).status_code == 200
        assert bot.http.post(where + path, json=body, headers=headers).status_code == 401  # a proof is good once


def test_a_centre_that_is_killed_in_the_middle_has_all_of_it_once_it_is_back(world, bot):
    """The last of them: the centre that is killed here does not come back under its own name."""
    beside = world.at_edge(bot)
    task, token = bot.task()
    permits = 0
    for _ in range(30):
        permits += beside.call(task, token)["decision"] == "permit"
    world.centre.child.kill()
    world.centre.child.wait(10)
    for _ in range(10):
        permits += beside.call(task, token)["decision"] == "permit"
    port = world.centre.url.rpartition(":")[2]
    with process(world.centre.data, "--port", port) as again:
        assert again.url == world.centre.url
        world.edge.fresh(20)
        assert beside.call(task, token)["decision"] == "permit"
        same(world, task)
        with world.centre.http("operator") as http:
            assert http.get(f"/v1/tasks/{task}").json()["calls"] == permits + 1
        assert world.edge.stop() == 0
        assert world.home(task) == ""
