"""`remit gateway` between the official SDK's client, unmodified, and servers that know nothing of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.server import furnished, process

from .gates import NOTES, agent_dir, at_work, catalogue, described, free_port, gateway, tool


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    state = tmp_path_factory.mktemp("notes")
    port = free_port()
    with process(tmp_path_factory.mktemp("gate") / "data") as running:
        lines = described(running, "notes", [*NOTES, str(state)])
        tools = {
            name: tool(line, "irreversible" if name == "notes.delete_note" else "read")
            for name, line in lines.items()
            if name != "notes.unreviewed"
        }
        command = [*NOTES, str(state)]
        files = catalogue(f"http://127.0.0.1:{port}/mcp", {"notes": f"command = {command}"}, tools, list(tools))
        server = furnished(running, files)
        with gateway(server, state, port, "--wait", "0") as child:
            server.state, server.resource, server.gateway = state, child.resource, child
            server.agent_dir = agent_dir(server, state / "agent")
            yield server


def text(result):
    return result.content[0].text


def talk(gate, conversation, **options):
    async def main():
        async with at_work(gate, gate.agent_dir, gate.resource, **options) as (client, task):
            return await conversation(client, task)

    return asyncio.run(main())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_unmodified_client_lists_and_calls(gate, mode):
    async def conversation(client, task):
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["read_note", "delete_note", "change", "big", "die"]
        result = await client.call_tool("read_note", {"name": "a"})
        assert text(result) == "note a REMIT=False" and not result.is_error
        denied = await client.call_tool("unreviewed", {"name": "a"})
        assert denied.structured_content["remit"]["reasons"] == ["tool_unknown"]

    talk(gate, conversation, mode=mode)
