"""The log in the console: found, taken away, and checked against what somebody kept."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.server import eventually

from .browser import HOSTILE
from .signed_in import SignedIn


@pytest.fixture(scope="module")
def task(server):
    """A task of which the log says something strange."""
    bot = server.agent()
    task, token = bot.task(goal="x")
    bot.call(task, token)
    for words in (HOSTILE[1][:60], "=HYPERLINK(1)"):
        bot.call(task, token, words, {})
    eventually(lambda: found(server, f"q={task}"), lambda items: len(items) == 4)
    return task


def found(server, query):
    return server.http("anna").get(f"/console/log.json?{query}").json()["items"]


def test_events_are_found_by_word_type_agent_task_decision_and_time(server, task):
    assert [one["says"] for one in found(server, f"task={task}&decision=permit")] == ["Permitted: list"]
    assert {one["type"] for one in found(server, f"type=TaskProposed&agent=bot&task={task}")} == {"TaskProposed"}
    assert found(server, f"q={task}&decision=hold") == []
    at = found(server, f"task={task}")[-1]["at"]
    assert len(found(server, f"task={task}&since={at}")) == 4 and found(server, f"task={task}&until={at}") == []
    assert len(found(server, f"task={task}&since=2020-01-01T00:00&until=2100-01-01T00:00")) == 4
    http = server.http("anna")
    for odd in ("since=yesterday", "since=9e99", "q=" + "+".join(["x"] * 9), "agent=" + "x" * 300, "before=x"):
        answer = http.get(f"/console/log.json?{odd}")
        assert answer.status_code == 400 and answer.json()["detail"], odd


def test_pages_go_on_where_the_last_one_ended(server, task):
    http = server.http("anna")
    seen, before = [], ""
    while before != "&before=0":
        page = http.get(f"/console/log.json?{before[1:]}").json()
        seen += [one["index"] for one in page["items"]]
        before = f"&before={page['next']}"
    assert seen == list(range(seen[0], -1, -1))


def test_the_log_is_for_its_readers(server, task):
    frank = server.http("frank")
    for path in ("/console/log.json", "/console/log/verify.json", "/console/log/export?format=csv"):
        assert frank.get(path).status_code == 403
    assert SignedIn(server, "frank").post("/console/log/verify", checkpoint="x").status_code == 403


def test_what_is_found_is_taken_away_in_three_shapes(server, task):
    http = server.http("anna")
    got = {shape: http.get(f"/console/log/export?format={shape}&task={task}") for shape in ("csv", "ocsf", "jsonl")}
    for shape, answer in got.items():
        assert (
            "attachment" in answer.headers["Content-Disposition"] and answer.headers["Cache-Control"] == "no-store"
        ), shape
    places = [one["index"] for one in found(server, f"task={task}")]
    rows = list(csv.DictReader(io.StringIO(got["csv"].text)))
    assert [int(row["index"]) for row in rows] == places
    assert '"tool": "=HYPERLINK(1)"' in got["csv"].text.replace('""', '"') and "\n=" not in got["csv"].text
    assert [json.loads(line)["metadata"]["sequence"] for line in got["ocsf"].text.splitlines()] == places
    assert [json.loads(line)["index"] for line in got["jsonl"].text.splitlines()] == places
    assert http.get("/console/log/export?format=xml").status_code == 400
    assert http.get("/console/log/export?format=csv&task=nobody").text.splitlines() == [",".join(rows[0])]


def test_a_page_shows_what_was_said_and_runs_none_of_it(server, task):
    text = server.http("anna").get(f"/console/log?task={task}", headers={"Accept": "text/html"}).text
    assert "&lt;img src=x onerror" in text and "<img src=x" not in text


def test_a_kept_checkpoint_is_checked_as_it_comes_from_a_form(server, task):
    anna = SignedIn(server, "anna", "auditor")
    kept = anna.json("/console/log/verify")["checkpoint"]
    server.agent()
    eventually(lambda: anna.json("/console/log/verify")["checkpoint"], lambda note: note != kept)
    good = anna.post("/console/log/verify", checkpoint=kept.replace("\n", "\r\n"))
    assert good.status_code == 200 and "begin with exactly the" in good.text
    assert "no proof to anybody" in good.text and "remit log verify" in good.text
    for bad in (
        kept.replace(kept.split("\n")[1], "1", 1),
        kept[:-10] + "\n",
        "<script>window.xss=1</script>",
        "x" * 19_000,
    ):
        answer = anna.post("/console/log/verify", checkpoint=bad)
        assert answer.status_code == 200 and "is-refused" in answer.text and "<script>window" not in answer.text
