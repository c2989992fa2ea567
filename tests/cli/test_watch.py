"""`remit task end`: the count of living credentials goes to zero in sight, or the command says what is left."""

from __future__ import annotations

import json
import os
import pty
import subprocess

import psycopg
import pytest

from remit.testing.postgres import NoPostgres, PostgresServer
from tests.server import CATALOGUE, REMIT, furnished, process

BOSS = """
CREATE TABLE invoices (id int);
CREATE ROLE boss LOGIN CREATEROLE PASSWORD 'boss-password';
GRANT CONNECT ON DATABASE postgres TO boss WITH GRANT OPTION;
GRANT USAGE ON SCHEMA public TO boss WITH GRANT OPTION;
GRANT ALL ON invoices TO boss WITH GRANT OPTION;
"""
CREDENTIAL = """
[[credentials]]
name = "db"
issuer = "pg"
ttl = "10m"
grants = { tables = [{ name = "public.invoices", privileges = ["select"] }] }
"""


@pytest.fixture
def world(tmp_path):
    files = dict(CATALOGUE)
    files["remit.toml"] += '[issuers.pg]\nkind = "postgres"\ndsn_env = "PG"\n'
    files["purposes/pay.toml"] += CREDENTIAL
    try:
        with PostgresServer() as postgres:
            with psycopg.connect(postgres.dsn(), autocommit=True) as db:
                db.execute(BOSS)
            with process(tmp_path / "data", PG=postgres.dsn("boss", "boss-password")) as server:
                yield furnished(server, files), postgres
    except NoPostgres as missing:
        pytest.skip(str(missing))


def on_a_terminal(server, *words):
    """What standard error shows when it is a terminal, and the exit code."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([REMIT, *words], env=server.env(), stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert child.stdout is not None
    child.stdout.read()
    child.stdout.close()
    os.close(ours)
    return shown.decode(), child.wait(30)


def with_credentials(bot, *names):
    task, token = bot.task()
    for name in names:
        answer = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": name})
        assert answer.status_code == 201, answer.text
    return task


def test_what_is_left_is_in_sight_until_nothing_is(world):
    server, postgres = world
    bot = server.agent()
    held = server.http("operator").get(f"/v1/tasks/{with_credentials(bot, 'db', 'shown')}").json()["credentials"]
    assert held["alive"] == 2 and {one["waits"] for one in held["waits"]} == {"in use"}
    done = server.cli("task", "end", with_credentials(bot, "db", "shown"))
    assert done.returncode == 0 and "every credential is dead" in done.stdout
    tasks = [with_credentials(bot, "db", "shown") for _ in range(3)]
    postgres.__exit__(None, None, None)
    left = server.cli("task", "end", tasks[0], "--seconds", "2")
    assert left.returncode == 5 and "1 credential left: pg 1 (retry" in left.stderr
    assert "RMT-6002" in left.stderr and "box" not in left.stderr.splitlines()[-2]
    machine = server.cli("--json", "task", "end", tasks[1], "--seconds", "2")
    lines = [json.loads(line) for line in machine.stdout.splitlines()]
    assert machine.returncode == 5 and lines[-1]["credentials"]["alive"] == 1
    assert lines[-1]["credentials"]["waits"][0]["waits"] == "retry" and json.loads(machine.stderr)["exit"] == 5
    shown, code = on_a_terminal(server, "task", "end", tasks[2], "--seconds", "2")
    assert code == 5 and "\r\x1b[K" in shown and shown.count("\n") == 2, "one line that changes, then the error"
    metrics = server.http("operator").get("/metrics").text
    assert 'remit_leases{issuer="pg",state="retry"} 3.0' in metrics
    assert 'remit_lease_oldest_kill_seconds{issuer="pg"}' in metrics
    assert (
        'remit_kill_seconds_count{issuer="box"}' in metrics and 'remit_kill_seconds_count{issuer="pg"} 1.0' in metrics
    )
    unwatched = server.cli("task", "end", tasks[2], "--no-wait")
    assert unwatched.returncode == 0 and "are being killed" in unwatched.stdout
