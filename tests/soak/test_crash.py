"""Law 5 on real processes: Remit is killed with -9 while it mints and kills real database roles.

Whatever happened, when it is up again and the tasks have ended, no role is left, counted on the database itself, and
every lease is ENDED. A short lane runs always; the long one with `make soak`.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import httpx
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.testing.postgres import PostgresServer
from tests.server import Agent, Server, process
from tests.verbs.test_issue import law_5

FILES = {
    "remit.toml": '[people.olga]\n[people.dana]\n[people.frank]\n[issuers.pg]\nkind = "postgres"\ndsn_env = "CRASH_DSN"\n',
    "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
    "purposes/pay.toml": """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 100
[parameters.customer]
pattern = "[a-z]+"
[[credentials]]
name = "db"
issuer = "pg"
ttl = "5m"
[[credentials.grants.tables]]
name = "public.invoices"
privileges = ["select"]
""",
}


def roles(postgres: PostgresServer) -> int:
    with psycopg.connect(postgres.dsn()) as db:
        return db.execute(r"SELECT count(*) FROM pg_roles WHERE rolname LIKE 'remit\_%'").fetchone()[0]


def issue_and_end(server: Server, bot: Agent, stop: threading.Event) -> None:
    """One agent's life, until the server dies under it."""
    choose = random.Random(id(stop))
    while not stop.is_set():
        try:
            task, token = bot.task()
            for _ in range(choose.randint(1, 3)):
                bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "db"})
            if choose.random() < 0.7:
                bot.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"})
        except (httpx.HTTPError, AssertionError, KeyError, ValueError):
            return


def crash_again_and_again(data, postgres: PostgresServer, rounds: int) -> None:
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute("CREATE TABLE IF NOT EXISTS public.invoices (id int)")
    env, port, choose = {"CRASH_DSN": postgres.dsn()}, "0", random.Random(7)
    ever = 0
    for round_ in range(rounds):
        with process(data, "--port", port, **env) as running:
            port = running.url.rsplit(":", 1)[1]
            if round_ == 0:
                http = running.http("operator")
                assert http.post("/v1/catalogue", json={"files": FILES}).status_code == 200
            bots, stop = [running.agent() for _ in range(4)], threading.Event()
            threads = [threading.Thread(target=issue_and_end, args=(running, bot, stop)) for bot in bots]
            for thread in threads:
                thread.start()
            time.sleep(choose.uniform(0.3, 1.2))
            os.kill(running.child.pid, signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join()
        ever = max(ever, roles(postgres))
    assert ever, "nothing was ever alive at a crash, so this proves nothing"
    with process(data, "--port", port, **env) as running:
        http = running.http("operator")
        while tasks := http.get("/v1/tasks", params={"state": "open", "limit": 500}).json()["items"]:
            for task in tasks:
                http.post(f"/v1/tasks/{task['id']}/end", json={"reason": "over"})
        deadline = time.monotonic() + 90  # a mint window of 30 s must close first
        while time.monotonic() < deadline:
            left = [
                lease
                for state in ("reserved", "live", "ending")
                for lease in http.get("/v1/leases", params={"state": state, "limit": 500}).json()["items"]
            ]
            if not left:
                break
            time.sleep(0.5)
        assert not left, left[:3]
        assert roles(postgres) == 0
        assert "remit_lease_backlog 0.0" in http.get("/metrics").text


@pytest.fixture
def alone(postgres):
    """A database of its own: other tests leave roles behind on purpose."""
    with PostgresServer() as server:
        yield server


def test_killed_in_the_middle_nothing_is_left(tmp_path, alone):
    crash_again_and_again(tmp_path / "data", alone, 2)


@pytest.mark.soak
def test_killed_forty_times_nothing_is_left(tmp_path, alone):
    crash_again_and_again(tmp_path / "data", alone, 40)


@pytest.mark.soak
@settings(max_examples=3_000)
@given(st.data())
def test_the_machine_of_law_5_at_length(data):
    law_5(data)
