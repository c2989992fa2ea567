"""Backups as somebody makes and restores them: the command line, a real server, real roles of a real PostgreSQL."""

from __future__ import annotations

import json
import subprocess

import psycopg
import pytest

from tests.server import REMIT, eventually, process
from tests.soak.test_crash import FILES

EVERYTHING = {"policies/all.cedar": '@id("all") permit (principal, action, resource);'}


def login(parts):
    return psycopg.connect(**parts, connect_timeout=5)


def refused(data, **env):
    done = subprocess.run([REMIT, "up", "--data", data, "--port", "0"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done.stdout
    return done.stderr


def test_a_revoked_task_stays_dead_and_an_orphan_role_dies(tmp_path, postgres):
    data, kept, note = tmp_path / "data", tmp_path / "kept.db", tmp_path / "kept.checkpoint"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute("CREATE TABLE IF NOT EXISTS public.invoices (id int)")
        db.execute("CREATE ROLE remit_not_ours")

    def issued(bot, task, token):
        answer = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "db"})
        assert answer.status_code == 201, answer.text
        parts = answer.json()["parts"]
        login(parts).close()
        return parts

    with process(data, CRASH_DSN=postgres.dsn()) as server:
        operator = server.http("operator")
        assert operator.post("/v1/catalogue", json={"files": FILES | EVERYTHING}).status_code == 200
        bot = server.agent()
        task, token = bot.task()
        early = issued(bot, task, token)
        eventually(lambda: operator.get("/v1/log").json(), lambda log: log["size"] > 5)
        made = server.cli("backup", "create", str(kept), "--data", str(data))
        assert made.returncode == 0, made.stderr
        note.write_text(operator.get("/log/checkpoint").text)
        assert bot.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "stolen"}).status_code == 200
        late, its = bot.task()
        orphan = issued(bot, late, its)
        eventually(lambda: operator.get("/v1/leases?state=ended").json()["items"], lambda rows: len(rows) == 1)
        size = operator.get("/v1/log").json()["size"]
        busy = server.cli("backup", "restore", str(kept), "--data", str(data))
        assert busy.returncode == 1 and "has " in busy.stderr and "open" in busy.stderr
    with pytest.raises(psycopg.OperationalError):
        login(early)
    login(orphan).close()

    good = json.loads(server.cli("backup", "verify", str(kept), "--data", str(data), "--json").stdout)
    assert good["ok"] and 0 < good["size"] < size
    newer = server.cli("backup", "verify", str(kept), "--data", str(data), "--checkpoint", str(data / "log.checkpoint"))
    assert newer.returncode == 1 and "rolled back" in newer.stderr

    # Put back by hand, the server does not start on it.
    here = data / "remit.db"
    newest = here.read_bytes()
    here.write_bytes(kept.read_bytes())
    assert "older than what this host has seen" in refused(data)
    here.write_bytes(newest)

    done = server.cli("backup", "restore", str(kept), "--data", str(data), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["void"]["tasks"] == 1 and told["lost"] > 0 and "before-restore" in told["aside"]
    with process(data, ahead=60, CRASH_DSN=postgres.dsn()) as server:
        operator = server.http("operator")
        found = eventually(lambda: operator.get("/v1/freezes").json(), lambda one: one["restore"]["finished"])
        assert found["restore"]["orphans"] == 1 and found["items"][0]["reach"] == "everything"
        leases = eventually(
            lambda: operator.get("/v1/leases").json()["items"], lambda rows: {one["state"] for one in rows} == {"ended"}
        )
        assert len(leases) == 2 and any(one["credential"] == "orphan" for one in leases)
        for parts in (early, orphan):
            with pytest.raises(psycopg.OperationalError):
                login(parts)
        assert operator.get(f"/v1/tasks/{task}").json()["state"] == "revoked"
        bot.url = server.url
        assert bot.send("POST", f"/v1/tasks/{task}/calls", token, {"tool": "x", "arguments": {}}).status_code == 401
        assert server.cli("unfreeze", "everything").returncode == 0
        seen = server.cli("doctor")
        assert "finished; " in seen.stdout, seen.stdout
        again = server.agent()
        fresh, its = again.task()
        issued(again, fresh, its)
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:  # what only looks like ours is left alone
        db.execute("DROP ROLE remit_not_ours")
