"""A leak from a scan on the command line to its end: what is sent, what is answered, who sees and who stops."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from remit.formats import base64url, leak_digest
from tests.server import REMIT, eventually

SECRET = "sk-of-stripe-4f9Qz81LmW"
OTHER = "hunter2-of-somebody-else-9Q"


@pytest.fixture(scope="module")
def leaky(server):
    """A server with `stripe` sealed and a scanner's key."""
    operator = server.http("operator")
    assert operator.put("/v1/secrets/stripe", json={"value": SECRET}).status_code == 204
    made = operator.post("/v1/keys", json={"kind": "scanner", "name": "ci"})
    server.keys["ci"] = made.json()["key"]
    yield server
    for row in operator.get("/v1/findings?state=open&limit=500").json()["items"]:
        operator.post(f"/v1/findings/{row['id']}/resolve", json={"note": "tidied up"})
    assert operator.put("/v1/secrets/stripe", json={"value": "canary-after-a-leak"}).status_code == 204


def digests(server, *secrets):
    key = base64url.decode(server.http("ci").get("/v1/scans/key").json()["key"])
    return [{"digest": leak_digest.seen(key, one), "rule": "secret-in-file", "place": "x/.env:1"} for one in secrets]


def findings(server, leak=""):
    rows = server.http("operator").get("/v1/findings?limit=500").json()["items"]
    return [row for row in rows if row["leak"].startswith(leak or "secret:")]


def cli(server, *words, who="operator", **environ):
    there = {"REMIT_URL": server.url, "REMIT_KEY": server.keys[who], "PATH": os.environ["PATH"], **environ}
    return subprocess.run([REMIT, *words], env=there, capture_output=True, text=True, timeout=60, check=False)


def test_from_a_scan_to_its_end(leaky, tmp_path):
    repository = tmp_path / "shop\x1b[2J"
    repository.mkdir()
    (repository / ".env").write_text(f"STRIPE_KEY={SECRET}\nDB_PASSWORD={OTHER}\n")
    bot = leaky.agent()
    task, token = bot.task()
    shown = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "shown"})
    assert shown.json()["parts"]["value"] == SECRET
    done = cli(leaky, "scan", str(repository), "--own", "--report", who="ci")
    assert done.returncode == 1 and "2 secrets reported" in done.stderr
    assert SECRET not in done.stdout + done.stderr and "\x1b" not in done.stdout + done.stderr
    (row,) = eventually(lambda: findings(leaky), bool, 30)
    assert (row["leak"], row["subject"], row["name"]) == ("secret:stripe/2", "secret", "stripe")
    assert row["place"] == "shop\\x1b[2J/.env:1" and row["stopped"]  # as severe ones do
    told = json.loads(cli(leaky, "--json", "finding", "show", row["id"]).stdout)
    assert told["live"] == "yes"
    contained = cli(leaky, "finding", "contain", row["id"], "--reason", "in a repository")
    assert contained.returncode == 0 and "waits for a yes" in contained.stdout
    approval = leaky.http("operator").get(f"/v1/findings/{row['id']}").json()["approval"]
    asked = leaky.http("olga").get(f"/v1/approvals/{approval}").json()
    assert asked["shown"]["sentence"] == "local asks to destroy version 2 of secret stripe. This cannot be undone."
    assert [one["person"] for one in asked["can_answer"]] == ["olga"] and asked["again"]["most"] == 0
    assert leaky.http("frank").get(f"/v1/approvals/{approval}").status_code == 404
    page = leaky.http("olga").get(f"/console/approvals/{approval}", headers={"Accept": "text/html"})
    assert page.status_code == 200 and "local asks to destroy version 2" in page.text and "tasks/fnd_" not in page.text
    yes = {"digest": asked["digest"], "yes": True}
    assert leaky.http("olga").post(f"/v1/approvals/{approval}/answer", json=yes).json()["state"] == "granted"
    eventually(lambda: leaky.http("operator").get(f"/v1/findings/{row['id']}").json()["reached_at"], bool, 30)
    _, version = leaky.http("operator").get("/v1/secrets/stripe").json()["versions"]
    assert (version["state"], version["leases"]) == ("retired", [])
    assert leaky.http("operator").get(f"/v1/findings/{row['id']}").json()["live"] == "unknown"
    leaky.http("operator").put("/v1/secrets/stripe", json={"value": "rotated-" + SECRET})
    closed = cli(leaky, "finding", "resolve", row["id"], "--note", "rotated")
    assert closed.returncode == 0
    everything = b"".join(path.read_bytes() for path in leaky.data.rglob("*") if path.is_file())
    for text in (SECRET, OTHER, *(one["digest"] for one in digests(leaky, SECRET, OTHER))):
        assert text.encode() not in everything


def test_whoever_scans_learns_nothing(leaky):
    """Not by the answer, its headers or its size; a scanner sees no finding, and a digest is no oracle."""
    answers = []
    for secret in ("rotated-" + SECRET, OTHER):
        answer = leaky.http("ci").post("/v1/scans", json={"seen": digests(leaky, secret)})
        assert answer.status_code == 201
        headers = {name: text for name, text in answer.headers.items() if name != "date"}
        answers.append((headers, answer.json().keys(), answer.json()["taken"], len(answer.content)))
    assert answers[0] == answers[1]
    for path in ("/v1/findings", "/v1/findings/fnd_x", "/v1/secrets", "/v1/log", "/v1/tasks"):
        assert leaky.http("ci").get(path).status_code == 403
    for method, path in (("POST", "/v1/findings"), ("POST", "/v1/findings/x/contain"), ("POST", "/v1/keys")):
        assert leaky.http("ci").request(method, path, json={}).status_code == 403


def test_absent_and_not_yours_are_byte_for_byte_the_same(leaky):
    made = leaky.http("operator").post("/v1/keys", json={"kind": "auditor", "name": "looked-at"}).json()
    leaky.http("ci").post("/v1/scans", json={"seen": digests(leaky, made["key"])})
    row = eventually(lambda: findings(leaky, "key:"), bool, 30)[0]
    answers = [
        leaky.http("frank").get(f"/v1/findings/{one}") for one in (row["id"], "fnd_" + "0" * 32, "x")
    ] + [
        leaky.http("frank").post(f"/v1/findings/{one}/contain", json={"reason": "to harm"})
        for one in (row["id"], "fnd_" + "0" * 32, "x")
    ]  # fmt: skip
    assert {(one.status_code, one.content) for one in answers} == {(404, answers[0].content)}


@pytest.mark.parametrize(
    "seen",
    [
        [],
        [{"digest": "x", "rule": "r", "place": "p"}],
        [{"digest": "a" * 64, "rule": "r", "place": "p", "live": "maybe"}],
        [{"digest": "a" * 64, "rule": "r", "place": "p\x1b[31m"}],
        [{"digest": "a" * 64, "rule": "r", "place": "p", "secret": "in the clear"}],
        [{"digest": "a" * 64, "rule": "r", "place": "p"}] * 2_001,
    ],
)
def test_reports_that_are_refused_whole(leaky, seen):
    answer = leaky.http("ci").post("/v1/scans", json={"seen": seen})
    assert answer.status_code == 400 and answer.json()["code"].startswith("RMT-")


def test_a_leaked_operator_key_dies_by_being_seen(leaky):
    made = leaky.http("operator").post("/v1/keys", json={"kind": "operator", "name": "spare"}).json()
    leaky.keys["spare"] = made["key"]
    assert leaky.http("spare").get("/v1/keys").status_code == 200
    leaky.http("ci").post("/v1/scans", json={"seen": digests(leaky, made["key"])})
    eventually(lambda: leaky.http("spare").get("/v1/keys").status_code, lambda status: status == 401, 30)
    assert findings(leaky, "key:")
