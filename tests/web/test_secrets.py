"""Secrets and hand-overs over HTTP and from the command line: what is seen by whom, and what is the same for all."""

from __future__ import annotations

import base64
import json
import os
import secrets as random
import signal
import sqlite3
import threading
import time

import httpx
import pytest

from remit.formats import base64url, hand_over
from tests.server import furnished, process

CANARY = b"canary-handed-7a1e"


def left(server, to="frank", sender="dana", value=CANARY, **more):
    key = hand_over.new_key()
    body = {"to": to, "envelope": hand_over.close(value, key), "proof": hand_over.proof(key), **more}
    answer = server.http(sender).post("/v1/hand-overs", json=body)
    assert answer.status_code == 201, answer.text
    return key, answer.json()


def opened(server, who, id_, proof):
    return server.http(who).post(f"/v1/hand-overs/{id_}/open", json={"proof": proof})


def test_absent_wrong_person_wrong_link_opened_withdrawn_are_byte_for_byte_the_same(server):
    key, row = left(server)
    proof = hand_over.proof(key)
    answers = [
        opened(server, "frank", "hov_" + "0" * 32, proof),
        opened(server, "olga", row["id"], proof),
        opened(server, "dana", row["id"], proof),
        opened(server, "frank", row["id"], hand_over.proof(hand_over.new_key())),
        opened(server, "frank", row["id"], "x"),
    ]
    good = opened(server, "frank", row["id"], proof)
    assert hand_over.open_(good.json()["envelope"], key) == CANARY
    answers.append(opened(server, "frank", row["id"], proof))
    gone_key, gone = left(server)
    assert server.http("dana").post(f"/v1/hand-overs/{gone['id']}/withdraw").json()["state"] == "withdrawn"
    answers.append(opened(server, "frank", gone["id"], hand_over.proof(gone_key)))
    answers.append(server.http("olga").post(f"/v1/hand-overs/{gone['id']}/withdraw"))
    answers.append(server.http("operator").post(f"/v1/hand-overs/{row['id']}/withdraw"))

    def told(answer):
        return answer.status_code, answer.content, sorted((k, v) for k, v in answer.headers.items() if k != "date")

    assert {str(told(answer)) for answer in answers} == {str(told(answers[0]))} and answers[0].status_code == 404
    pages = [httpx.get(f"{server.url}/handover/{id_}") for id_ in (row["id"], gone["id"], "hov_" + "1" * 32, "x")]
    assert len({str(told(page)) for page in pages}) == 1
    assert pages[0].status_code == 200 and pages[0].text.count("\n") == 1 and "remit secret open" in pages[0].text


def test_sender_and_recipient_see_the_fact_and_others_nothing(server):
    _, row = left(server, note="for the audit")

    def ids(who, box):
        return [x["id"] for x in server.http(who).get(f"/v1/hand-overs?box={box}&limit=500").json()["items"]]

    assert row["id"] in ids("dana", "sent") and row["id"] in ids("frank", "received")
    assert row["id"] not in ids("olga", "sent") + ids("olga", "received") + ids("frank", "sent")
    assert row["id"] in ids("anna", "all") and row["id"] in ids("operator", "all")
    assert server.http("dana").get("/v1/hand-overs?box=all").status_code == 400
    assert server.http("dana").get("/v1/hand-overs?box=x").status_code == 400
    assert "envelope" not in row and "proof" not in row


def test_bounds(server):
    key = hand_over.new_key()
    good = {"to": "frank", "envelope": hand_over.close(b"x", key), "proof": hand_over.proof(key)}
    http = server.http("dana")
    for change, status in (
        ({"ttl_ms": 7 * 86_400_000 + 1}, 400),
        ({"ttl_ms": 0}, 400),
        ({"to": "nobody"}, 404),
        ({"envelope": "A" * 90_000}, 400),
        ({"envelope": "A" * 200_000}, 413),
        ({"proof": "p"}, 400),
        ({"note": "n" * 501}, 400),
        ({"more": 1}, 400),
    ):
        assert http.post("/v1/hand-overs", json={**good, **change}).status_code == status, change
    left(server, value=os.urandom(65_536))


def test_of_fifty_openers_over_http_one_gets_it(server):
    key, row = left(server)
    proof, codes, lock = hand_over.proof(key), [], threading.Lock()
    barrier = threading.Barrier(50)

    def one():
        with server.http("frank") as http:
            barrier.wait()
            code = http.post(f"/v1/hand-overs/{row['id']}/open", json={"proof": proof}).status_code
        with lock:
            codes.append(code)

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [404] * 49


@pytest.mark.soak
def test_killed_while_openers_wait_it_is_opened_at_most_once_and_what_was_seen_was_recorded(tmp_path):
    data, port, got = tmp_path / "data", "0", {}
    for round_ in range(4):
        with process(data, "--port", port) as running:
            port = running.url.rsplit(":", 1)[1]
            server = furnished(running)
            sent = [left(server) for _ in range(40)]
            got = {}

            def open_all(server=server, sent=sent, got=got):
                with server.http("frank") as http:
                    for key, row in sent:
                        try:
                            answer = http.post(f"/v1/hand-overs/{row['id']}/open", json={"proof": hand_over.proof(key)})
                        except httpx.HTTPError:
                            return
                        got[row["id"]] = answer.status_code

            thread = threading.Thread(target=open_all)
            thread.start()
            time.sleep(0.02 + 0.03 * round_)
            os.kill(running.child.pid, signal.SIGKILL)
            thread.join()
        with process(data, "--port", port) as running:
            running.keys = {**server.keys, **running.keys}
            state = {
                x["id"]: x["state"]
                for x in running.http("dana").get("/v1/hand-overs?box=sent&limit=500").json()["items"]
            }
            for key, row in sent:
                again = opened(running, "frank", row["id"], hand_over.proof(key))
                if got.get(row["id"]) == 200:  # seen, so it was durable before
                    assert state[row["id"]] == "opened" and again.status_code == 404
                else:  # never committed: it opens now; committed and never answered: it is gone, and says so
                    assert again.status_code == (404 if state[row["id"]] == "opened" else 200)


def test_what_is_over_has_no_envelope_in_the_database(tmp_path):
    data = tmp_path / "data"
    with process(data) as running:
        server = furnished(running)
        _, row = left(server)
        server.http("dana").post(f"/v1/hand-overs/{row['id']}/withdraw")
    db = sqlite3.connect(data / "remit.db")
    ((body,),) = db.execute("SELECT body FROM hand_overs").fetchall()
    assert json.loads(body)["envelope"] == "" and json.loads(body)["state"] == "withdrawn"


def test_secrets_from_the_command_line(server, tmp_path):
    name = f"s{random.token_hex(4)}"

    def cli(*words, stdin="", code=0):
        done = server.cli("secret", *words, stdin=stdin)
        assert done.returncode == code, done.stderr
        assert "canary" not in done.stderr + (done.stdout if words[0] != "open" else "")
        return done.stdout

    assert "version 1" in cli("put", name, "--rotate-after", "90d", "--note", "first", stdin="canary-1\n")
    assert "version 2" in cli("put", name, "--expires", "30d", stdin="canary-2")
    assert "1" in cli("show", name) and "active" in cli("show", name)
    listed = {row["name"]: row for row in map(json.loads, cli("list", "--json").splitlines())}
    assert (listed[name]["number"], listed[name]["versions"], listed[name]["overdue"]) == (2, 2, False)
    assert listed[name]["rotate_at"] > time.time() * 1000
    assert "version 1 again" in cli("rollback", name)
    assert "Version 1 of" in cli("retire", name, "1", "--reason", "old")
    assert "2 older retired" in cli("rotate", name, stdin="canary-3")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        versions = server.http("anna").get(f"/v1/secrets/{name}").json()["versions"]
        if [v["state"] for v in versions] == ["retired"] * 3 + ["active"]:
            break
        time.sleep(0.1)
    assert [v["state"] for v in versions] == ["retired"] * 3 + ["active"]
    cli("show", "nothing", code=6)
    cli("retire", name, "99", code=6)
    cli("put", name, "--rotate-after", "soon", stdin="x", code=2)
    assert server.cli("secret", "put", "Bad Name", stdin="x").returncode == 1
    assert "remit_secrets_overdue 0.0" in server.http("anna").get("/metrics").text
    server.http("operator").put(f"/v1/secrets/{name}", json={"value": "canary", "rotate_after_ms": 1})
    deadline = time.monotonic() + 10
    while "remit_secrets_overdue 1.0" not in server.http("anna").get("/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "yes" in next(line for line in cli("list").splitlines() if line.startswith(name))
    cli("put", name, "--rotate-after", "0d", stdin="x")
    assert "remit_secrets_overdue 0.0" in server.http("anna").get("/metrics").text


def test_handing_over_from_the_command_line(server, tmp_path):
    for name in ("dana", "frank", "olga"):
        server.cli("key", "create", "person", name, "--save")
    value = base64.b64encode(os.urandom(30)).decode()

    def send(*words):
        done = server.cli("secret", "send", "--to", "frank", "--as", "dana", *words, stdin=value + "\n")
        assert done.returncode == 0 and value not in done.stdout + done.stderr, done.stderr
        return done.stdout.strip()

    link = send("--note", "vpn", "--expires", "1h")
    assert link.startswith(f"{server.url}/handover/hov_") and "#" in link
    assert server.cli("secret", "open", link, "--as", "olga").returncode == 6
    assert server.cli("secret", "open", link).returncode == 3  # an operator is not the recipient
    spoiled = link.partition("#")[0] + "#" + base64url.encode(b"x" * 32)
    assert server.cli("secret", "open", spoiled, "--as", "frank").returncode == 6
    elsewhere = server.cli("secret", "open", link.replace("127.0.0.1", "127.0.0.2"), "--as", "frank")
    assert elsewhere.returncode == 2 and "REMIT_URL" in elsewhere.stderr
    taken = tmp_path / "taken"
    taken.write_text("mine")
    refused = server.cli("secret", "open", link, "--as", "frank", "--out", str(taken))
    assert refused.returncode == 2 and "Nothing was opened" in refused.stderr and taken.read_text() == "mine"
    out = tmp_path / "vpn"
    assert server.cli("secret", "open", "--as", "frank", "--out", str(out), stdin=link + "\n").returncode == 0
    assert out.read_text() == value and out.stat().st_mode & 0o777 == 0o600
    again = server.cli("secret", "open", link, "--as", "frank", "--out", str(tmp_path / "again"))
    assert again.returncode == 6 and not (tmp_path / "again").exists()
    link = send()
    assert server.cli("secret", "open", link, "--as", "frank").stdout == value
    assert json.loads(server.cli("secret", "open", send(), "--as", "frank", "--json").stdout)["value"] == value
    id_ = send().partition("/handover/")[2].partition("#")[0]
    assert "withdrawn" in server.cli("secret", "withdraw", id_, "--as", "dana").stdout
    assert server.cli("secret", "withdraw", id_, "--as", "olga").returncode == 6
    sent = server.cli("secret", "sent", "--as", "dana").stdout
    assert "opened" in sent and "withdrawn" in sent and "vpn" in sent
    opened_id = link.partition("/handover/")[2].partition("#")[0]
    assert server.cli("secret", "withdraw", opened_id, "--as", "dana").returncode == 1
    assert "dana" in server.cli("secret", "sent", "--received", "--as", "frank").stdout
    assert server.cli("secret", "send", "--to", "nobody", "--as", "dana", stdin="x").returncode == 6
    assert server.cli("secret", "send", "--to", "frank", "--as", "dana", stdin="").returncode == 1
    assert server.cli("secret", "open", "https://x", "--as", "frank").returncode == 1


@pytest.mark.parametrize("how", ["variables", "files"])
def test_the_root_key_is_replaced(tmp_path, how):
    data = tmp_path / "data"
    with process(data) as running:
        server = furnished(running)
        server.http("operator").put("/v1/secrets/stripe", json={"value": "canary-root"})
        key, row = left(server)
        proof = hand_over.proof(key)
    old = (data / "root.key").read_text()
    if how == "files":
        (data / "root.key").rename(data / "root.key.previous")  # a new one is made at the start
        env = {}
    else:
        (data / "root.key").unlink()
        env = {"REMIT_ROOT_KEY": base64url.encode(os.urandom(32)), "REMIT_ROOT_KEY_PREVIOUS": old.strip()}
    with process(data, **env) as running:
        done = running.cli("secret", "rewrap", "--json")
        found = json.loads(done.stdout)
        assert found["rewrapped"] > 6 and found["unopened"] == []
        assert "0 envelopes rewrapped" in running.cli("secret", "rewrap").stdout
    (data / "root.key.previous").unlink(missing_ok=True)
    env.pop("REMIT_ROOT_KEY_PREVIOUS", None)
    with process(data, **env) as running:
        running.keys |= {k: v for k, v in server.keys.items() if k != "operator"}
        bot = running.agent()
        task, token = bot.task()
        answer = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "shown"})
        assert answer.json()["parts"]["value"] == "canary-root"
        assert hand_over.open_(opened(running, "frank", row["id"], proof).json()["envelope"], key) == CANARY
    (data / "root.key").write_text(old)
    import subprocess

    from tests.server import REMIT

    clean = {k: v for k, v in os.environ.items() if not k.startswith("REMIT_")}
    done = subprocess.run(
        [REMIT, "up", "--port", "0", "--data", str(data)],
        env=clean,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1 and "cannot be opened" in done.stderr
    (data / "root.key").write_text(old)
    bad = subprocess.run(
        [REMIT, "up", "--port", "0", "--data", str(data)],
        env={**clean, "REMIT_ROOT_KEY_PREVIOUS": "short"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert bad.returncode == 1 and "Traceback" not in bad.stderr
