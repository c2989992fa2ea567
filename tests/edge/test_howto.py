"""The page on running an edge, done as it says; and the agent's client, which asks the edge first."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from remit_client import Denied, Held, Remit, Unreachable
from tests.docs.howtos import catalogues, fenced
from tests.docs.test_howto_commands import shell
from tests.edge.link import free_port
from tests.server import CATALOGUE, eventually, furnished, process


def test_an_edge_runs_as_the_page_says_and_agents_ask_it_first(tmp_path, monkeypatch):
    port = str(free_port())
    (files,) = catalogues("edges.md")
    entry = files["remit.toml"].replace("7451", port)
    key, enrol, run, status = fenced("edges.md", "sh")
    with process(tmp_path / "centre") as centre:
        furnished(centre, {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + entry})
        there = {"REMIT_URL": centre.url, "REMIT_DATA": str(centre.data), "CENTRE": centre.url}
        shell(key, tmp_path, **there)
        assert "trusts" in shell(enrol, tmp_path, **there)
        told = shell(
            enrol.replace("--data", f"--pin {'x' * 43} --data").strip() + " 2>&1 || echo left $?", tmp_path, **there
        )
        assert "left 3" in told
        script = run.replace("7451", port).replace("&", "> edge.out 2> edge.log & echo $!")
        pid = int(shell(script, tmp_path, **there))
        try:
            eventually(lambda: shell(status.strip() + " || true", tmp_path), lambda said: "fresh     yes" in said, 40)
            assert len((tmp_path / "edge.out").read_text().splitlines()) == 5
            said = json.loads(shell(status.strip() + " --json", tmp_path))
            assert said["fresh"] and said["edge"] == "east"
            token = centre.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
            monkeypatch.setenv("REMIT_EDGE", f"http://127.0.0.1:{port}")
            bot = Remit(centre.url, agent_dir=tmp_path / "bot", join_token=token)
            with bot.task("pay", goal="pay it", customer="acme") as task:
                assert task.call("list", customer="acme")
                assert json.loads(shell(status.strip() + " --json", tmp_path))["held"] == 1
                task.observe("list", {"found": "INV-1"})
                with pytest.raises(Denied):
                    task.call("list", customer="other")
                with pytest.raises(Held):
                    task.call("pay", customer="acme", invoice=1, amount="5.00", wait=0)
                os.kill(pid, signal.SIGTERM)
                eventually(lambda: gone(pid), bool)
                assert task.call("list", customer="acme")  # nobody is there: the centre is asked
                with pytest.raises(Denied):
                    task.call("list", customer="other")
            bot.close()
        finally:
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return not done.stdout.strip() or done.stdout.strip().startswith("Z")


def test_an_answer_that_is_lost_on_the_way_is_no_permit_and_is_not_asked_for_again(tmp_path):
    """A listener that takes the request and hangs up: the edge may have decided it."""
    import socket
    import threading

    from remit_client.keys import AgentKey
    from remit_client.protocol import Agent, Work

    listener = socket.create_server(("127.0.0.1", 0))
    asked = []

    def hang_up() -> None:
        taken, _ = listener.accept()
        asked.append(taken.recv(65_536))
        taken.close()

    threading.Thread(target=hang_up, daemon=True).start()
    remit = Remit("http://127.0.0.1:9", agent_dir=tmp_path)
    remit.agent = Agent("http://127.0.0.1:9", AgentKey.generate(), edge=f"http://127.0.0.1:{listener.getsockname()[1]}")
    work = Work(remit.agent, "pay", "", id="tsk_1")
    work._keep({"authorization_details": [{"task": "tsk_1", "type": "pay"}], "access_token": "t", "expires_in": 600})
    with pytest.raises(Unreachable):
        remit.run(work.call("list", {}, wait=0))
    assert len(asked) == 1 and b"POST /v1/tasks/tsk_1/calls" in asked[0]
    remit.close()
    listener.close()
