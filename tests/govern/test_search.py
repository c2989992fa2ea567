"""An event is found by what is in it, at once when it is in the log, and the pages never miss one."""

from __future__ import annotations

import json
import time

import pytest

from remit.formats.log_words import words
from tests.server import furnished, process


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with process(tmp_path_factory.mktemp("search") / "data") as running:
        server = furnished(running)
        bot = server.agent()
        server.tasks = [bot.task(goal=f"secret goal number {n}") for n in range(3)]
        for task, token in server.tasks:
            for _ in range(5):
                bot.call(task, token)
        bot.call(*server.tasks[0], "pay", {"customer": "acme", "invoice": 17, "amount": "120.00"})
        for _ in range(100):
            if found(server, "AccessDecided", limit=1000).__len__() == 16:
                break
            time.sleep(0.05)
        yield server


def page(server, *wanted, **more):
    answer = server.http("anna").get("/v1/log/search", params={"q": " ".join(wanted), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def found(server, *wanted, limit=50, **more):
    items, before = [], 0
    while True:
        here = page(server, *wanted, limit=limit, **({"before": before} if before else {}), **more)
        items += here["items"]
        before = here["next"]
        if not before:
            return items


def test_all_words_in_any_order_and_the_newest_first(server):
    task = server.tasks[0][0]
    items = found(server, "permit", task)
    assert len(items) == 5 and all(item["data"]["task"] == task for item in items)
    assert [item["index"] for item in items] == sorted((item["index"] for item in items), reverse=True)
    assert found(server, task, "permit", limit=2) == items == found(server, "permit", task, limit=1)
    (held,) = found(server, task, "hold")
    assert held["data"]["tool"] == "pay" and found(server, held["data"]["approval"]) == [held]
    assert found(server, "list", "pay") == [] and found(server, "nothing-like-it") == []
    assert [item["type"] for item in found(server, task)][-1] == "TaskProposed"


def test_it_is_found_by_the_index_and_before_the_index_has_it_alike(server):
    everything = found(server, limit=1000)
    assert [item["index"] for item in everything] == list(range(len(everything)))[::-1]
    for word in ("bot", "agent:bot", "CatalogueApplied", "person", "frank"):
        wanted = [e for e in everything if word in words(json.dumps({k: e[k] for k in e if k != "index"}).encode())]
        assert wanted and found(server, word) == wanted


def test_what_people_wrote_is_no_word(server):
    assert found(server, "secret") == [] and found(server, "acme") == []


def test_a_time_bounds_it(server):
    items = found(server, "AccessDecided")
    middle = items[8]["at"]
    assert found(server, "AccessDecided", since=middle) == [item for item in items if item["at"] >= middle]
    assert found(server, "AccessDecided", until=middle) == [item for item in items if item["at"] < middle]
    assert found(server, "AccessDecided", since=int(time.time() * 1000) + 60_000) == []


@pytest.mark.parametrize(
    "query", [{"q": "a " * 9}, {"q": "a" * 201}, {"limit": "1001"}, {"before": "-1"}, {"since": "x"}]
)
def test_bad_searches_are_refused(server, query):
    assert server.http("anna").get("/v1/log/search", params=query).status_code == 400


def test_the_command_line_finds_the_same(server):
    task = server.tasks[1][0]
    said = server.cli("--json", "log", "show", task, "permit", "--limit", "3")
    assert said.returncode == 0, said.stderr
    shown = [json.loads(line) for line in said.stdout.splitlines()]
    assert shown == found(server, task, "permit")[:3][::-1]
    assert "AccessDecided" in server.cli("log", "show", task, "permit").stdout
    assert server.cli("log", "show", "nothing-like-it").stdout == ""
