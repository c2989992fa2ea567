"""The page on context, done at a real server: every command of it, and what it says has ended."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

from tests.server import eventually, process
from tests.web.test_sessions import signed_in

from .howtos import catalogues, fenced, whole


def test_every_command_of_the_page(tmp_path: Path) -> None:
    page = "context.md"
    (files,) = catalogues(page)
    mine = whole(files)
    mine["remit.toml"] += "[people.dana]\n"
    # At any hour, so that this can run at any.
    mine["purposes/pay.toml"] = mine["purposes/pay.toml"].replace(
        "Mon-Fri 08:00-18:00 Europe/Berlin", "00:00-24:00 UTC"
    )
    mine["policies/all.cedar"] = '@id("all") permit (principal, action, resource);'
    with process(tmp_path / "data") as server:
        folder = tmp_path / "catalogue"
        written(folder, mine)
        assert server.cli("apply", str(folder)).returncode == 0
        blocks = [block.splitlines() for block in fenced(page, "console")]
        apply, known, left, found, closed = blocks
        done(server, known[0])
        agent = server.agent()
        task, token = agent.task(parameters={}, type="pay")
        # A narrower purpose: the plan says which task would end, and it ends.
        mine["purposes/pay.toml"] = mine["purposes/pay.toml"].replace("max_calls = 50", "max_calls = 40")
        written(folder, mine)
        planned = done(server, apply[0].replace("./catalogue", str(folder)))
        assert "Open tasks: 1 would end (1 looked at):" in planned and "max_calls" in planned and task in planned
        as_json = json.loads(done(server, f"{apply[0]} --json".replace("./catalogue", str(folder))))
        assert (as_json["ends"]["count"], as_json["ends"]["more"]) == (1, False)
        assert "Open tasks: 1 to end" in done(server, apply[1].replace("./catalogue", str(folder)))
        operator = server.http("operator")
        ended = eventually(lambda: operator.get(f"/v1/tasks/{task}").json(), lambda row: row["state"] == "revoked")
        assert "catalogue 3: Purpose pay changed from revision" in ended["end_reason"]
        assert "catalogue 3" in done(server, apply[2])
        said = agent.send("POST", f"/v1/tasks/{task}/calls", token, {"tool": "pay", "arguments": {"amount": "5"}})
        assert "task_not_open" in said.text
        # Somebody leaves: their key is refused, and good again when they are back.
        key = operator.post("/v1/keys", json={"kind": "person", "name": "dana", "ttl_ms": 60_000}).json()["key"]
        server.keys["dana"] = key
        assert server.http("dana").get("/v1/whoami").status_code == 200
        browser = signed_in(server, "dana")
        assert browser.get("/console/tasks").status_code == 200
        done(server, left[0])
        assert server.http("dana").get("/v1/whoami").status_code == 401
        assert browser.get("/console/tasks").status_code != 200
        done(server, left[1])
        assert server.http("dana").get("/v1/whoami").status_code == 200
        # A finding stops the tool; resolved, it is let go.
        assert "tool pay is stopped" in done(server, found[0])
        assert "its description was changed" in done(server, found[1])
        (row,) = operator.get("/v1/findings?state=open").json()["items"]
        assert agent.token({"type": "pay", "goal": "x", "parameters": {}}).status_code >= 400
        done(server, f"remit finding resolve {row['id']} --note reviewed")
        (tmp_path / "leak").write_text("canary-of-a-leak")
        said = "remit --json finding report agent bot --severity low --title leaked --evidence"
        row = json.loads(done(server, f"{said} {tmp_path / 'leak'}"))
        assert row["evidence"].startswith("hmac-sha256:") and not row["stopped"]
        assert not [path for path in server.data.iterdir() if path.is_file() and b"canary-of" in path.read_bytes()]
        for line in closed:
            done(server, line)
        metrics = operator.get("/metrics").text
        assert "remit_redecision_left 0.0" in metrics and "remit_redecision_oldest_seconds" in metrics
        shown = operator.get("/v1/agents/bot").json()["posture"]
        assert {one["name"]: one["value"] for one in shown} == {"disk_encrypted": "yes", "os": "patched"}
        for path in ("/v1/redecisions?lasts=maybe", "/v1/findings?state=odd"):
            assert operator.get(path).status_code == 400


def done(server, line: str) -> str:
    """What a command of the page prints."""
    words = shlex.split(line)
    assert words[0] == "remit"
    result: subprocess.CompletedProcess[str] = server.cli(*words[1:])
    assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"
    return result.stdout + result.stderr


def written(folder: Path, files: dict[str, str]) -> None:
    """The files of a catalogue."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
