"""Signing keys rotate under load: nothing valid is refused, nothing restarts, and replicas agree."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import httpx
import psycopg
import pytest

from tests.server import Server, furnished, process

OVERLAP = 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def replicas(postgres, tmp_path, *options):
    """Two processes on one database under one public URL, the first one's; each is reached at its own address."""
    name, root, public = f"t_{secrets.token_hex(6)}", secrets.token_urlsafe(32), free_port()
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    both = ("--database", postgres.dsn(database=name), "--public-url", f"http://127.0.0.1:{public}", *options)
    with ExitStack() as stack:
        found = []
        for port in (public, free_port()):
            folder = tmp_path / str(port)
            server = stack.enter_context(process(folder, *both, "--port", str(port), REMIT_ROOT_KEY=root))
            found.append(Server(f"http://127.0.0.1:{port}", folder, dict(server.keys)))
        furnished(found[0])
        found[1].keys = {**found[0].keys, "operator": found[1].keys["operator"]}
        yield found


def call(server, agent, task, token):
    """One decision, asked of this very replica."""
    path = f"/v1/tasks/{task}/calls"
    headers = {"Authorization": f"DPoP {token}", "DPoP": agent.key.proof("POST", agent.url + path, token)}
    body = {"tool": "list", "arguments": {"customer": "acme"}}
    return httpx.post(server.url + path, json=body, headers=headers, timeout=40)


def published(server):
    answer = httpx.get(f"{server.url}/.well-known/jwks.json")
    return [key["kid"] for key in answer.json()["keys"]], answer.headers["cache-control"]


def state(server, use="token"):
    items = server.http("operator").get("/v1/signing-keys").json()["items"]
    return {key["kid"]: key["state"] for key in items if key["use"] == use}


def rotate(server, use="token", **body):
    answer = server.http("operator").post(f"/v1/signing-keys/{use}/rotate", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def signs(server, kid, use="token"):
    for _ in range(2000):
        if state(server, use)[kid] == "current":
            return
        time.sleep(0.02)
    raise AssertionError(f"{kid} does not sign after forty seconds")


class Load:
    """Clients that get tokens, use new and old ones, and have them introspected; anything but 200 is kept."""

    def __init__(self, servers, clients):
        self.servers, self.refused, self.checks, self.kids = servers, [], 0, set()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._one, args=(i,)) for i in range(clients)]

    def _one(self, number):
        agent, kept = self.servers[0].agent(), []
        while not self.stopping.is_set():
            try:
                task, token = agent.task()
                kept.append((task, token))
                for one in (kept[0], kept[len(kept) // 2], kept[-1]):
                    at = self.servers[(number + len(kept)) % len(self.servers)]
                    shown = at.http("gate").post("/oauth/introspect", data={"token": one[1]})
                    called = call(at, agent, *one)
                    if not shown.json().get("active") or called.status_code != 200:
                        self.refused.append((shown.text, called.text))
                    self.checks += 2
                header = token.partition(".")[0]
                self.kids.add(header)
            except Exception as error:
                self.refused.append(repr(error))
                return

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.soak
def test_rotations_under_load_on_two_replicas_refuse_no_valid_token(postgres, tmp_path):
    with replicas(postgres, tmp_path, "--key-overlap", str(OVERLAP)) as (one, two):
        with Load([one, two], 4) as load:
            made = set()
            for i in range(8):
                first = rotate((one, two)[i % 2])["kid"]
                second = rotate((two, one)[i % 2])["kid"]
                assert first == second or state(one)[first] != "next"  # a slow machine: it signs already
                signs(two, second)
                made |= {first, second}
        assert load.refused == []
        assert load.checks > 100 and len(load.kids) >= 8
        kids, _ = published(one)
        assert len(kids) == 1 + len(made) and kids == published(two)[0]


def test_a_compromised_key_dies_on_every_replica_and_a_restart_keeps_what_is(tmp_path):
    """On SQLite, with a restart while the next key is published and does not sign yet."""
    data = tmp_path / "data"
    with process(data, "--key-overlap", "12") as server:
        furnished(server)
        keys, agent = server.keys, server.agent()
        task, token = agent.task()
        upcoming = rotate(server)["kid"]
        url = server.url
    port = url.rpartition(":")[2]
    with process(data, "--key-overlap", "12", "--port", port) as server:
        server.keys = keys
        assert server.url == url and state(server)[upcoming] == "next"
        assert agent.call(task, token)["decision"] == "permit"
        signs(server, upcoming)
        second, newer = agent.task()
        assert agent.call(task, token)["decision"] == agent.call(second, newer)["decision"] == "permit"
        kids, cache = published(server)
        assert len(kids) == 2 and cache == "public, max-age=6"
        assert server.http("operator").post("/v1/signing-keys/token/rotate", json={"now": True}).status_code == 400
        told = server.cli("key", "rotate", "--use", "token", "--now", "--reason", "lost laptop")
        assert told.returncode == 0 and "2 destroyed. Refused from now on: agents' access tokens" in told.stdout
        for one, text in ((task, token), (second, newer)):
            refused = agent.send("POST", f"/v1/tasks/{one}/calls", text, {"tool": "list", "arguments": {}})
            assert refused.status_code == 401
            active = server.http("gate").post("/oauth/introspect", data={"token": text}).json()
            assert active == {"active": False}
        third, fresh = agent.task()
        assert agent.call(third, fresh)["decision"] == "permit"
        listed = [json.loads(line) for line in server.cli("--json", "key", "signing").stdout.splitlines()]
        assert [key["state"] for key in listed if key["use"] == "token"] == ["current", "retired", "retired"]
        pinned = server.cli("log", "key").stdout.strip()
        assert server.cli("key", "rotate", "--use", "log").returncode == 0
        assert server.cli("log", "verify", "--key", pinned).returncode == 0
        for who in ("anna", "frank", "gate"):
            assert server.http(who).get("/v1/signing-keys").status_code == 403


def test_a_key_that_another_process_replaced_at_once_is_known_before_its_first_token_is_judged(postgres, tmp_path):
    with replicas(postgres, tmp_path) as (one, two):
        agent = one.agent()
        for _ in range(10):
            rotate(one, now=True, reason="test")
            _, token = agent.task()
            assert two.http("gate").post("/oauth/introspect", data={"token": token}).json()["active"]
