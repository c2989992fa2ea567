"""`remit mcp` between the official SDK's client and unmodified servers: permit, hold, deny, rug pull, fail closed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client

from tests.server import CATALOGUE, REMIT, furnished, process

NOTES = [sys.executable, str(Path(__file__).parent / "notes_server.py")]
PURPOSE = """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 1000
[[grants]]
tool = "notes.read_note"
[[grants]]
tool = "notes.delete_note"
[[grants]]
tool = "notes.change"
[[grants]]
tool = "notes.big"
[[grants]]
tool = "notes.die"
"""
ARGUMENTS = '[arguments.name]\ntype = "text"\n'


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """A server whose catalogue has the notes server's tools, pinned as an operator would."""
    state = tmp_path_factory.mktemp("notes")
    with process(tmp_path_factory.mktemp("mcp") / "data") as running:
        described = running.cli("tool", "pin", "--json", "--server", "notes", "--", *NOTES, str(state))
        assert described.returncode == 0, described.stderr
        pins = {line["tool"]: line["pin"] for line in map(json.loads, described.stdout.splitlines())}
        files = {**CATALOGUE, "purposes/tidy.toml": PURPOSE}
        for name in ("read_note", "delete_note", "change", "big", "die"):
            effect = "irreversible" if name == "delete_note" else "read"
            files[f"tools/notes.{name}.toml"] = (
                f'effect = "{effect}"\nserver = "notes"\npin = "{pins["notes." + name]}"\n{ARGUMENTS}'
            )
        server = furnished(running, files)
        server.state = state
        token = server.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
        server.agent_env = server.env(
            REMIT_URL=server.url, REMIT_AGENT_DIR=str(state / "agent"), REMIT_JOIN_TOKEN=token
        )
        yield server


def front(server, *options, env=None):
    command = [
        "mcp",
        "--purpose",
        "tidy",
        "--goal",
        "tidy up",
        "--server",
        "notes",
        *options,
        "--",
        *NOTES,
        str(server.state),
    ]
    return StdioServerParameters(command=REMIT, args=command, env=env or server.agent_env)


def talk(server, conversation, *options, env=None, mode="auto"):
    async def main():
        async with Client(stdio_client(front(server, *options, env=env)), mode=mode, read_timeout_seconds=60) as client:
            return await conversation(client)

    return asyncio.run(main())


def text(result):
    return result.content[0].text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_permitted_calls_pass_and_only_reviewed_tools_are_listed(notes, mode):
    async def conversation(client):
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["read_note", "delete_note", "change", "big", "die"]
        result = await client.call_tool("read_note", {"name": "a"})
        assert text(result) == "note a REMIT=False" and not result.is_error
        return names

    talk(notes, conversation, mode=mode)


def test_denied_calls_say_what_and_why(notes):
    async def conversation(client):
        for tool, arguments, code in (
            ("unreviewed", {"name": "a"}, "tool_unknown"),
            ("nothing", {}, "tool_unknown"),
            ("read_note", {}, "bad_arguments"),
            ("read_note", {"name": "a", "x": 1}, "bad_arguments"),
        ):
            result = await client.call_tool(tool, arguments)
            assert (
                result.is_error
                and result.structured_content["remit"].items() >= {"decision": "deny", "reasons": [code]}.items()
            ), result
            assert "hold-irreversible" not in text(result)

    talk(notes, conversation)


def test_held_then_approved_then_done_exactly_once(notes):
    deleted = notes.state / "deleted"

    async def conversation(client):
        held = await client.call_tool("delete_note", {"name": "b"})
        remit = held.structured_content["remit"]
        assert held.is_error and remit["decision"] == "hold" and remit["approval"]["url"] in text(held)
        assert not deleted.exists()
        frank = notes.http("frank")
        path = f"/v1/approvals/{remit['approval']['id']}"
        digest = frank.get(path).json()["digest"]
        frank.post(f"{path}/answer", json={"digest": digest, "yes": True})
        other = await client.call_tool("delete_note", {"name": "c"})
        assert other.is_error and other.structured_content["remit"]["approval"]["id"] != remit["approval"]["id"]
        done = await client.call_tool("delete_note", {"name": "b"})
        assert text(done) == "deleted b"
        again = await client.call_tool("delete_note", {"name": "b"})
        assert text(again) == "deleted b" and again.meta["remit/replayed"] is True
        assert deleted.read_text() == "b\n"

    talk(notes, conversation, "--wait", "0")


def test_waiting_reports_progress_and_goes_on_when_answered(notes):
    said = []

    def approve():
        time.sleep(1.0)
        frank = notes.http("frank")
        newest = max(
            frank.get("/v1/approvals", params={"state": "pending"}).json()["items"], key=lambda a: a["asked_at"]
        )
        frank.post(f"/v1/approvals/{newest['id']}/answer", json={"digest": newest["digest"], "yes": True})

    async def progress(done, total, message):
        said.append(message)

    async def conversation(client):
        thread = threading.Thread(target=approve)
        thread.start()
        result = await client.call_tool("delete_note", {"name": "waited"}, progress_callback=progress)
        thread.join()
        return text(result)

    assert talk(notes, conversation, "--wait", "30") == "deleted waited"
    assert any("finance" in (message or "") for message in said)


def test_a_changed_description_suspends_the_tool(notes):
    async def conversation(client):
        assert not (await client.call_tool("read_note", {"name": "a"})).is_error
        await client.call_tool("change", {"name": "x"})
        assert "read_note" not in [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("read_note", {"name": "a"})
        assert result.structured_content["remit"]["reasons"] == ["tool_changed"]

    talk(notes, conversation)


def test_a_server_that_says_too_much_or_dies_is_an_error_not_a_hang(notes):
    async def conversation(client):
        big = await client.call_tool("big", {"name": "x"})
        assert big.is_error and "more than" in text(big)
        dead = await client.call_tool("die", {"name": "x"})
        assert dead.is_error and "failed" in text(dead)

    talk(notes, conversation)


def test_other_requests_are_refused(notes):
    async def conversation(client):
        assert (await client.list_resources()).resources == [] and (await client.list_prompts()).prompts == []
        for ask in (
            client.read_resource("note://a"),
            client.get_prompt("p"),
            client.session.subscribe_resource("x://a"),
        ):
            with pytest.raises(MCPError):
                await ask

    talk(notes, conversation)


def test_when_remit_is_down_nothing_passes(notes, tmp_path):
    with process(tmp_path / "data") as running:
        server = furnished(running, dict(notes.http("operator").get("/v1/catalogue").json()["files"]))
        token = server.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
        env = server.env(REMIT_URL=server.url, REMIT_AGENT_DIR=str(tmp_path / "agent"), REMIT_JOIN_TOKEN=token)
        server.state, server.agent_env = notes.state, env

        async def conversation(client):
            assert not (await client.call_tool("read_note", {"name": "a"})).is_error
            os.kill(running.child.pid, signal.SIGKILL)
            running.child.wait()
            result = await client.call_tool("read_note", {"name": "a"})
            assert result.is_error and result.structured_content["remit"]["reasons"] == ["unreachable"]
            with pytest.raises(MCPError):
                await client.list_tools()

        talk(server, conversation)


def test_the_task_ends_with_the_enforcement_point(notes):
    async def conversation(client):
        await client.call_tool("read_note", {"name": "a"})

    talk(notes, conversation)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        tasks = list(notes.http("operator").get("/v1/tasks", params={"purpose": "tidy", "limit": 500}).json()["items"])
        if all(task["state"] == "closed" for task in tasks):
            break
        time.sleep(0.1)
    assert tasks and {task["state"] for task in tasks} == {"closed"}


def test_usage(notes):
    assert notes.cli("mcp", "--", "true").returncode == 2
    assert notes.cli("mcp", "--purpose", "tidy", "--goal", "x", "-p", "novalue", "--", "true").returncode == 2
