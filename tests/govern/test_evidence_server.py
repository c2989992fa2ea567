"""Evidence at a real server: asked for, checked as the how-to says, and of use to nobody who may not read the log."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from remit.formats.oscal import assessment_results
from tests.docs.howtos import fenced
from tests.docs.test_howto_commands import shell
from tests.server import eventually, furnished, process

PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with process(tmp_path_factory.mktemp("evidence") / "data") as running:
        server = furnished(running)
        server.canary = "canary-of-evidence"
        assert server.http("operator").put("/v1/secrets/stripe", json={"value": server.canary}).status_code == 204
        bot = server.agent()
        task, token = bot.task(goal="<script>window.xss=1</script>")
        for tool, arguments in (("list", None), ("pay", PAY), ("is LeaseEnded", {}), ("LeaseEnded", {})):
            bot.call(task, token, tool, arguments)
        lease = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"})
        assert lease.status_code == 201, lease.text
        yield server


@pytest.fixture(scope="module")
def taken(server, tmp_path_factory):
    """Everything that the page takes, checked by the page's own commands."""
    folder = tmp_path_factory.mktemp("taken")
    key = server.cli("log", "key").stdout.strip()
    env = {"REMIT_DATA": str(server.data), "LOG_KEY": key}
    eventually(lambda: minted(server), lambda count: count == 1)
    said = "".join(shell(block, folder, **env) for block in fenced("evidence.md", "sh"))
    return folder, key, said


def minted(server):
    report = server.http("anna").post("/v1/evidence", json={"frameworks": ["asi"]}).json()["report"]
    return next(act["count"] for act in report["mechanisms"]["leases"]["acts"] if act["word"] == "is LeaseMinted")


def test_it_is_taken_and_checked_as_the_page_says(server, taken):
    _, _, said = taken
    assert said.count("Verified: nothing was altered since it was given to operator:local") == 3
    assert "Every count was made again" in said and "OWASP Top 10 for Agentic Applications (2026)" in said


def test_what_an_agent_calls_its_tools_counts_for_nothing(server, taken):
    report = json.loads((taken[0] / "evidence.json").read_text())["report"]
    kinds = {act["word"]: act["count"] for one in report["mechanisms"].values() for act in one["acts"]}
    assert (kinds["is LeaseEnded"], kinds["is LeaseMinted"], kinds["refused tool_unknown"]) == (0, 1, 2)
    assert (kinds["decided permit"], kinds["decided hold"], kinds["control ASI02"]) == (1, 1, 1)


def test_a_page_that_was_touched_is_not_verified(server, taken):
    folder, key, _ = taken
    text = (folder / "evidence.html").read_text()
    (folder / "touched.html").write_text(text.replace("</body>", "<p>Approved</p></body>"))
    done = server.cli("evidence", "verify", str(folder / "touched.html"), "--key", key)
    assert done.returncode == 1 and "NOT verified: the page does not say" in done.stderr, done.stdout


def test_an_old_report_says_its_age_and_is_refused_where_that_is_too_old(server, taken, tmp_path):
    folder, key, _ = taken
    clock = "import sys, time\ntrue = time.time\ntime.time = lambda: true() + 40 * 86400\nfrom remit.main import main\nmain()\n"
    words = ["evidence", "verify", str(folder / "evidence.json"), "--key", key, "--max-age", "30"]
    done = subprocess.run([sys.executable, "-c", clock, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "the report is 40 days old, and 30 are allowed" in done.stderr


def test_only_who_may_read_the_log_is_given_one_and_each_is_on_record(server):
    for who in ("dana", "gate", "west"):
        assert server.http(who).post("/v1/evidence", json={}).status_code == 403
        assert server.http(who).get("/console/evidence.json").status_code == 403
    assert server.http().post("/v1/evidence", json={}).status_code == 401
    size = server.http("anna").get("/v1/log").json()["size"]
    found = server.http("anna").post("/v1/evidence", json={"frameworks": ["nhi", "asi", "nhi"]})
    assert found.status_code == 200 and [one["id"] for one in found.json()["report"]["frameworks"]] == ["asi", "nhi"]
    entry = json.loads(found.json()["proof"]["event"])
    assert found.json()["proof"]["place"] >= size
    assert (entry["by"], entry["data"]["frameworks"]) == ("auditor:anna", ["asi", "nhi"])


@pytest.mark.parametrize(
    "body", [{"frameworks": ["sox"]}, {"since": -1}, {"since": "x"}, {"more": 1}, {"frameworks": "asi"}]
)
def test_what_is_asked_for_wrongly_is_refused(server, body):
    answer = server.http("anna").post("/v1/evidence", json=body)
    assert answer.status_code == 400 and answer.json()["detail"]


def test_there_is_no_secret_in_any_of_it(server, taken):
    found = json.loads((taken[0] / "evidence.json").read_text())
    shown = server.http("anna").get("/console/evidence.json").text
    for text in (
        (taken[0] / "evidence.html").read_text(),
        json.dumps(found),
        json.dumps(assessment_results(found)),
        shown,
    ):
        assert server.canary not in text and not any(key in text for key in server.keys.values())


def test_counting_since_then_leaves_what_was_before(server):
    http = server.http("anna")
    ever, never = (http.post("/v1/evidence", json={"since": since}).json()["report"] for since in (0, 2**52))
    assert ever["counted"]["start"] == 0 and never["counted"]["start"] == never["counted"]["end"]
    assert ever["mechanisms"]["tasks"]["acted"] == 1 and never["mechanisms"]["tasks"]["acted"] == 0
    assert never["mechanisms"]["tasks"]["last"] == ever["mechanisms"]["tasks"]["last"] >= 0
    done = server.cli("evidence", "--since", "someday")
    assert done.returncode == 2 and "neither a time span nor a date" in done.stderr


def test_the_console_shows_the_same_and_gives_the_same_file(server, taken, tmp_path):
    http = server.http("operator")
    shown = http.get("/console/evidence.json", params={"framework": "nhi"}).json()
    assert shown["shown"]["id"] == "nhi" and shown["mechanisms"]["tasks"]["acted"] == 1
    assert http.get("/console/evidence.json", params={"framework": "sox"}).status_code == 400
    page = http.get("/console/evidence", params={"framework": "asi"}, headers={"Accept": "text/html"}).text
    place = shown["mechanisms"]["tasks"]["last"]
    assert f"/console/log/{place}" in page and "<script>window" not in page
