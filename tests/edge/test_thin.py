"""The thin path: a task goes to the edge, is decided there, and what happened is at the centre."""

from __future__ import annotations

import secrets
import time

from tests.edge.estate import entries, estate
from tests.server import eventually


def test_a_task_is_decided_at_the_edge_and_what_happened_is_at_the_centre(tmp_path):
    with estate(tmp_path) as all_of_it:
        bot = all_of_it.agent()
        task, token = bot.task()
        beside = all_of_it.at_edge(bot)
        first = beside.call(task, token)
        assert first["decision"] == "permit", first
        for _ in range(20):
            assert beside.call(task, token)["decision"] == "permit"
        started = time.monotonic()
        for _ in range(100):
            beside.call(task, token)
        print("per call", (time.monotonic() - started) / 100)
        assert all_of_it.edge.status()["held"] == 1
        all_of_it.reported()
        with all_of_it.centre.http("operator") as http:
            found = http.get(f"/v1/tasks/{task}").json()
        assert found["calls"] == 121, found
        trace = secrets.token_hex(16)
        needs_a_person = {"tool": "pay", "arguments": {"customer": "acme", "invoice": 1, "amount": "5"}}
        headers = {"traceparent": f"00-{trace}-{'1' * 16}-00"}
        path = f"/v1/tasks/{task}/calls"
        held = eventually(
            lambda: beside.send("POST", path, token, needs_a_person, headers=headers),
            lambda said: said.status_code == 200,
        )
        assert held.json()["decision"] == "hold"
        traced = lambda: [one for one in entries(all_of_it.centre.http("operator")) if one["trace"] == trace]  # noqa: E731
        found = eventually(traced, bool)
        assert [(one["type"], one["by"]) for one in found] == [("AccessDecided", "edge:east")]
        acknowledged = all_of_it.revoke(task)
        while beside.call(task, token)["decision"] == "permit":
            pass
        print("refused after", time.monotonic() - acknowledged)
        assert eventually(all_of_it.edge.status, lambda said: said["held"] + said["leaving"] == 0)
