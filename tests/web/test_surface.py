"""The whole surface: who may call what (golden), bad input everywhere, and canaries that must not be found."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain.caller import CallerKind
from remit.formats import hand_over
from remit.web.route import Route
from remit.web.routes import ROUTES
from tests.server import CATALOGUE, REMIT, furnished, process

GOLDEN = Path(__file__).parent / "authorisation.golden"
KINDS = ("anyone", "agent", "enforcer", "edge", "person", "operator", "auditor", "receiver", "scanner", "directory")


def receiver(server):
    """One has a key, and so have a scanner and a directory."""
    for kind, name in (("receiver", "hub"), ("scanner", "ci"), ("directory", "hr")):
        if name not in server.keys:
            made = server.http("operator").post("/v1/keys", json={"kind": kind, "name": name})
            server.keys[name] = made.json()["key"]


def test_who_may_call_what_is_as_reviewed(server):
    """Regenerate with REMIT_GOLDEN=1, and have the difference reviewed."""
    bot = server.agent()
    _, token = bot.task()
    who = {"person": "olga", "operator": "operator", "auditor": "anna", "enforcer": "gate", "edge": "west"}
    who |= {"receiver": "hub", "scanner": "ci", "directory": "hr"}
    receiver(server)
    clients = {kind: server.http(name) for kind, name in who.items()}
    clients["anyone"] = server.http()
    clients["anyone"].headers["Sec-Fetch-Site"] = "same-origin"  # as a page of ours would
    lines = []
    for route in sorted(ROUTES, key=lambda r: (r.path, r.method)):
        path = re.sub(r"\{[a-z]+(:path)?\}", "x", route.path)
        cells = []
        for kind in KINDS:
            if kind == "agent":
                status = bot.send(route.method, path, token).status_code
            else:
                status = clients[kind].request(route.method, path).status_code
            cells.append(
                "401" if status == 401 and CallerKind.ANYONE not in route.callers else "403" if status == 403 else "in"
            )
        lines.append(
            f"{route.method:<5} {route.path:<42} " + " ".join(f"{k}={c}" for k, c in zip(KINDS, cells, strict=True))
        )
    text = "\n".join(lines) + "\n"
    if os.environ.get("REMIT_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_the_table_and_the_answers_agree():
    for line in GOLDEN.read_text().splitlines():
        method, path, *cells = line.split()
        route = next(r for r in ROUTES if (r.method, r.path) == (method, path))
        allowed = {cell.partition("=")[0] for cell in cells if cell.endswith("=in")}
        wanted = set(KINDS) if CallerKind.ANYONE in route.callers else {kind.value for kind in route.callers}
        assert allowed == wanted, line


def test_a_route_without_callers_refuses_to_start():
    with pytest.raises(ValueError, match="nobody may call"):
        Route("GET", "/x", frozenset(), ROUTES[0].handler)


def test_without_credentials_nothing_changes(server):
    for route in ROUTES:
        if route.method == "GET" or CallerKind.ANYONE in route.callers:
            continue
        path = re.sub(r"\{[a-z]+(:path)?\}", "x", route.path)
        answer = httpx.request(route.method, server.url + path, json={})
        assert answer.status_code == 401, (route.method, path, answer.status_code)


BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"\xff\xfe",
    b'{"a":1,"a":2}',
    b'{"a":NaN}',
    b'{"a":1e999}',
    b"[" * 1000 + b"]" * 1000,
    b'{"a":"\\u0000"}',
    b'{"a":"\\ud800"}',
    b'{"unknown":1}',
    b'{"a":99999999999999999999}',
    b"x" * 70_000,
]


@pytest.mark.parametrize("body", BODIES, ids=lambda b: str(b[:20]))
def test_bad_bodies_are_refused_everywhere_with_a_reason(server, body):
    receiver(server)
    bot = server.agent()
    _, token = bot.task()
    for route in ROUTES:
        if not route.takes_body or (CallerKind.ANYONE in route.callers and route.path != "/v1/attest"):
            continue
        path = re.sub(r"\{[a-z]+(:path)?\}", "x", route.path)
        headers = {"Content-Type": "application/json"}
        if CallerKind.AGENT in route.callers:
            headers |= {"Authorization": f"DPoP {token}", "DPoP": bot.key.proof(route.method, server.url + path, token)}
        elif route.path == "/v1/attest":
            headers |= {"DPoP": bot.key.proof(route.method, server.url + path)}
        else:
            named = {"PERSON": "frank", "ENFORCER": "gate", "EDGE": "west", "RECEIVER": "hub", "DIRECTORY": "hr"}
            kind = next((key for name, key in named.items() if CallerKind[name] in route.callers), "operator")
            headers |= {"Authorization": f"Bearer {server.keys[kind]}"}
        answer = httpx.request(route.method, server.url + path, content=body, headers=headers)
        assert answer.status_code in (400, 404, 413), (route.path, answer.status_code, answer.text[:200])
        said = answer.json()
        if route.path.startswith("/scim/"):
            assert said["schemas"] and said["detail"]
            continue
        assert said.get("code", "").startswith("RMT-") and (said.get("detail") or said.get("error_description"))
        assert "Traceback" not in answer.text


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(
                st.sampled_from(["tool", "arguments", "pin", "purpose", "goal", "parameters", "files", "x"]),
                c,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_is_answered_and_never_a_500(server, value):
    try:
        body = json.dumps(value).encode()
    except ValueError:
        return
    for path, who in (
        ("/v1/tasks/x/calls", "gate"),
        ("/access/v1/evaluation", "gate"),
        ("/access/v1/evaluations", "gate"),
        ("/v1/catalogue/plan", "operator"),
        ("/v1/keys", "operator"),
    ):
        answer = server.http(who).post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code < 500, (path, body, answer.text)


def test_a_body_that_never_comes_and_one_that_is_too_large(server):
    key = server.keys["gate"]
    host, port = server.url.removeprefix("http://").split(":")
    head = f"POST /v1/tasks/x/calls HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall((head + "Content-Length: 100\r\n\r\n{").encode())
        started = time.monotonic()
        answer = b""
        while b"did not arrive" not in answer:
            more = slow.recv(65536)
            assert more, answer
            answer += more
        assert b" 400 " in answer.split(b"\r\n")[0] and b"did not arrive" in answer
        assert time.monotonic() - started < 15
    with socket.create_connection((host, int(port)), timeout=20) as large:
        large.sendall((head + "Content-Length: 99999999999\r\n\r\n").encode())
        assert b" 413 " in large.recv(65536).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/tasks?limit=1&limit=2",
        "/v1/tasks?after=%00",
        "/v1/tasks?limit=-1",
        "/v1/tasks?limit=99999",
        "/v1/tasks?limit=1e3",
    ],
)
def test_bad_queries(server, path):
    assert server.http("operator").get(path).status_code == 400


def test_health_readiness_metrics_and_description(server):
    http = server.http()
    assert http.get("/healthz").text == "ok\n" and http.get("/readyz").text == "ready\n"
    assert http.get("/metrics").status_code == 401
    text = server.http("anna").get("/metrics").text
    for name in ("remit_requests_total", "remit_decisions_total", "remit_lease_backlog", "remit_log_size"):
        assert name in text
    described = http.get("/openapi.json").json()
    assert len(described["paths"]) == len({route.path for route in ROUTES if not route.browser})
    assert http.get("/").json()["openapi"].endswith("/openapi.json")
    for name in ("x-content-type-options", "content-security-policy", "cache-control"):
        assert name in http.get("/openapi.json").headers


def test_the_description_is_fuzzed(tmp_path):
    """schemathesis against the whole API, as an operator: no 5xx, and no status that is not described.

    At a server of its own: an operator may well apply an empty catalogue.
    """
    with process(tmp_path / "data") as running:
        server = furnished(running)
        command = [str(Path(REMIT).parent / "schemathesis"), "run", f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {server.keys['operator']}", "--phases", "examples,fuzzing", "--max-examples", "8", "--checks", "not_a_server_error,status_code_conformance", "--no-color", "--generation-deterministic"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


CANARY = "canary-9f1c6b2e7d"


def test_canaries_are_nowhere(tmp_path):
    """Law 10: secrets pushed through every verb are in no database page, log line, answer, or metric."""
    data = tmp_path / "data"
    with process(data) as running:
        server = furnished(running, {**CATALOGUE})
        http = server.http("operator")
        http.put("/v1/secrets/stripe", json={"value": CANARY})
        bot = server.agent()
        secrets = [CANARY, *server.keys.values()]
        for path, body in (
            ("/v1/secrets/stripe/rollback", {"number": 2}),
            ("/v1/secrets/stripe/retire", {"number": 1}),
            ("/v1/root-key/rewrap", None),
        ):
            assert http.post(path, json=body).status_code == 200
        http.put("/v1/secrets/stripe", json={"value": CANARY, "expires_at": 5})
        key = hand_over.new_key()
        left = {"envelope": hand_over.close(CANARY.encode(), key), "proof": hand_over.proof(key)}
        secrets += [left["envelope"], left["proof"], hand_over.link("", "", key).partition("#")[2]]
        row = server.http("dana").post("/v1/hand-overs", json={"to": "frank", **left}).json()
        server.http("dana").post("/v1/hand-overs", json={"to": "frank", **left, "note": 5})
        server.http("dana").post("/v1/hand-overs", json={"to": "nobody", **left})
        waiting = [http.get("/v1/hand-overs?box=all").text, http.get(f"/handover/{row['id']}").text]
        server.http("dana").post(f"/v1/hand-overs/{row['id']}/open", json={"proof": left["proof"]})
        opened = server.http("frank").post(f"/v1/hand-overs/{row['id']}/open", json={"proof": left["proof"]})
        assert hand_over.open_(opened.json()["envelope"], key).decode() == CANARY
        server.http("frank").post(f"/v1/hand-overs/{row['id']}/open", json={"proof": left["proof"]})
        join = http.post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
        task, token = bot.task()
        subject = server.http("dana").post("/v1/subject-tokens", json={"agent": "bot"}).json()["subject_token"]
        issued = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "shown"}).json()
        assert issued["parts"]["value"] == CANARY  # it did pass through
        exchanged = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}).json()
        secrets += [join, token, subject, exchanged["parts"]["access_token"]]
        for bad in (f"Bearer {CANARY}", f"DPoP {CANARY}"):
            httpx.get(f"{server.url}/v1/tasks", headers={"Authorization": bad, "DPoP": CANARY})
        httpx.post(f"{server.url}/oauth/token", data={"client_assertion": CANARY, "grant_type": CANARY})
        spoken = [http.get(route.path).text for route in ROUTES if route.method == "GET" and "{" not in route.path]
        spoken += [*waiting, http.get("/v1/secrets/stripe").text, http.get("/v1/hand-overs?box=all").text]
        spoken += [http.get(f"/v1/tasks/{task}/leases").text, http.get(f"/v1/tasks/{task}").text]
        time.sleep(0.3)
        spoken.append(http.get("/v1/log/entries").text)
        for secret in secrets:
            assert not any(secret in text for text in spoken)
    sqlite3.connect(data / "remit.db").execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in [*data.iterdir(), data.with_suffix(".log")]:
        if path.name in ("operator.key",):
            continue
        content = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, f"{secret[:12]}… is in {path.name}"
    for path in data.iterdir():
        assert not path.stat().st_mode & 0o077 or path.name in ("url", "remit.db-wal", "remit.db-shm"), path


def test_beyond_loopback_there_is_tls_or_nothing(tmp_path):
    done = subprocess.run(
        [REMIT, "up", "--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path / "d")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1 and "only with TLS" in done.stderr and not (tmp_path / "d").exists()


def test_a_wrong_root_key_does_not_start(tmp_path):
    data = tmp_path / "data"
    with process(data):
        pass
    (data / "root.key").write_text("A" * 43 + "\n")
    done = subprocess.run(
        [REMIT, "up", "--port", "0", "--data", str(data)], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1 and "cannot be opened" in done.stderr and "Traceback" not in done.stderr


def test_it_serves_from_postgres_as_well(tmp_path, postgres):
    with process(tmp_path / "data", "--database", postgres.dsn()) as running:
        server = furnished(running)
        bot = server.agent()
        task, token = bot.task()
        assert bot.call(task, token)["decision"] == "permit"
        ended = bot.send("POST", f"/v1/tasks/{task}/end?wait=settled", token, {"reason": ""}).json()
        assert ended["settled_at"]
