"""The grade of enforcement is read from what happened."""

from __future__ import annotations

import time

from tests.server import furnished, process


def grade(server, name="bot", wanted=None):
    for _ in range(60):  # until the log's newest are sequenced
        found = server.http("operator").get(f"/v1/agents/{name}").json()["enforcement"]
        if wanted is None or (found["grade"], found["seen"]) == wanted:
            return found
        time.sleep(0.1)
    return found


def test_the_weakest_way_its_calls_were_decided_is_its_grade(tmp_path):
    with process(tmp_path / "data") as running:
        server = furnished(running)
        assert grade(server)["grade"] == ""
        bot = server.agent()
        task, token = bot.task()
        bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "shown"})
        seen = {"hook": 0, "gateway": 0, "credential": 1}
        assert grade(server, wanted=("credential", seen))["grade"] == "credential"
        call = {"tool": "list", "arguments": {"customer": "acme"}}
        assert server.http("gate").post(f"/v1/tasks/{task}/calls", json=call).json()["decision"] == "permit"
        seen = {**seen, "gateway": 1}
        assert grade(server, wanted=("gateway", seen))["grade"] == "gateway"
        bot.call(task, token)
        seen = {**seen, "hook": 1}
        assert grade(server, wanted=("hook", seen))["seen"] == seen
        assert grade(server, "other")["grade"] == ""
        said = server.cli("agent", "show", "bot").stdout
        assert "enforced    hook (advisory: its own process asks; 1 by hook, 1 by gateway, 1 by credential)" in said
