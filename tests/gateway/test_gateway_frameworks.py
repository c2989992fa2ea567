"""Agent frameworks, unmodified, with the gateway as the only MCP server they know; no model."""

from __future__ import annotations

import asyncio
import time

import pytest

from remit_client import AsyncRemit, mcp_http
from tests.server import furnished, process

from .gates import NOTES, agent_dir, catalogue, described, free_port, gateway, tool


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    state, port = tmp_path_factory.mktemp("notes"), free_port()
    resource = f"http://127.0.0.1:{port}/mcp"
    with process(tmp_path_factory.mktemp("gate") / "data") as running:
        command = [*NOTES, str(state)]
        lines = described(running, "notes", command)
        chosen = {"notes.read_note": "read", "notes.delete_note": "irreversible"}
        tools = {name: tool(lines[name], effect) for name, effect in chosen.items()}
        server = furnished(running, catalogue(resource, {"notes": f"command = {command}"}, tools, list(tools)))
        with gateway(server, state, port, "--wait", "0"):
            server.resource, server.agent_dir = resource, agent_dir(server, state / "agent")
            yield server


def at_work(gate, conversation):
    async def main():
        remit = AsyncRemit(gate.url, agent_dir=gate.agent_dir)
        try:
            async with remit.task("work", goal="read") as task:
                return await conversation(await task.auth(gate.resource))
        finally:
            await remit.close()

    return asyncio.run(main())


def openai_agents(gate, calls):
    from agents import Agent, Runner
    from agents.mcp import MCPServerStreamableHttp

    from tests.adapters.drivers.openai_agents import Script

    async def conversation(auth):
        script = Script(calls)
        async with MCPServerStreamableHttp({"url": gate.resource, "auth": mcp_http.Auth(auth)}) as server:
            listed = [tool.name for tool in await server.list_tools()]
            await Runner.run(Agent(name="a", mcp_servers=[server], model=script), "go")
        return listed, {number: str(said) for number, said in script.told.items()}

    return at_work(gate, conversation)


def pydantic_ai(gate, calls):
    from pydantic_ai import Agent
    from pydantic_ai.mcp import MCPToolset
    from pydantic_ai.messages import ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import FunctionModel

    told, listed = {}, []

    def model(messages, info):
        listed[:] = [tool.name for tool in info.function_tools]
        parts = [p for m in messages for p in m.parts if isinstance(p, ToolReturnPart | RetryPromptPart)]
        told.update({p.tool_call_id: str(p.content) for p in parts})
        if parts:
            return ModelResponse([TextPart("done")])
        return ModelResponse([ToolCallPart(name, args, tool_call_id=i) for name, args, i in calls])

    async def conversation(auth):
        async with mcp_http.client(auth) as http:
            await Agent(FunctionModel(model), toolsets=[MCPToolset(gate.resource, http_client=http)]).run("go")
        return listed, told

    return at_work(gate, conversation)


@pytest.mark.parametrize("framework", [openai_agents, pydantic_ai])
def test_a_framework_sees_what_the_task_may_and_is_held_to_it(gate, framework):
    pytest.importorskip("agents" if framework is openai_agents else "pydantic_ai")
    listed, told = framework(gate, [("read_note", {"name": "monday"}, "c1"), ("delete_note", {"name": "monday"}, "c2")])
    assert sorted(listed) == ["delete_note", "read_note"]
    assert "monday" in told["c1"] and "Held" not in told["c1"]
    assert "Held: a person must agree first" in told["c2"] and "/console/approvals/apv_" in told["c2"]
    until = time.monotonic() + 10
    while True:  # the log follows what is committed by a moment
        events = gate.http("operator").get("/v1/log/entries", params={"start": 0, "limit": 1000}).text
        if '"tool":"notes.read_note"' in events and "ResultObserved" in events:
            break
        assert time.monotonic() < until
