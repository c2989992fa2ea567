"""An enforcement point for any stdio MCP server: every `tools/call` is decided before it is forwarded.

It runs beside the agent and speaks MCP on both sides through the official SDK. Only tools that the task's
purpose grants, and whose description is the reviewed one, are listed. When Remit does not answer, nothing is
forwarded. What a model is told never names a policy: it says what to ask for and of whom.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters, stdio_client, stdio_server
from mcp.server.lowlevel.server import Server

from remit import __version__
from remit.formats.mcp_pin import pin
from remit_client import AsyncRemit, AsyncTask, Denied, Held, RemitError

CALL_TIMEOUT = 120.0
RESULT_LIMIT = 4 * 1024 * 1024
TOOLS_LIMIT = 1000


async def describe(command: list[str], server: str = "") -> list[tuple[str, dict[str, Any], str]]:
    """A live server's tools: (catalogue name, description as sent, pin)."""
    async with _connected(command) as child:
        tools = await _tools(child)
    return [(_catalogue_name(server, tool["name"]), tool, pin(tool)) for tool in tools]


async def run(
    command: list[str],
    *,
    purpose: str,
    goal: str = "",
    parameters: Mapping[str, str] | None = None,
    task: str = "",
    server: str = "",
    wait_budget_s: float = 20,
    env: Mapping[str, str] | None = None,
    remit: AsyncRemit | None = None,
) -> None:
    """Serve MCP on our stdin and stdout until they close; a task opened here is ended on the way out.

    The server gets a minimal environment and `env`, never the agent's own: no REMIT_ variable reaches it.
    """
    remit = remit or AsyncRemit()
    opened = remit.adopt(purpose, task) if task else remit.propose(purpose, goal, parameters or {})
    this = asyncio.current_task()
    if this is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    with suppress(asyncio.CancelledError):
        async with opened as within, _connected(command, env) as child:
            point = EnforcementPoint(within, child, purpose, server, wait_budget_s)
            async with stdio_server() as (reader, writer):
                front = point.server()
                await front.run(reader, writer, front.create_initialization_options())
    await remit.close()


def _connected(command: list[str], env: Mapping[str, str] | None = None) -> Client:
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=dict(env or {}))
    return Client(stdio_client(parameters), read_timeout_seconds=CALL_TIMEOUT)


class EnforcementPoint:
    """One agent's task in front of one MCP server."""

    def __init__(self, task: AsyncTask, child: Client, purpose: str, prefix: str, wait_budget_s: float) -> None:
        self._task = task
        self._child = child
        self._purpose = purpose
        self._prefix = prefix
        self._budget = wait_budget_s

    def server(self) -> Server[Any]:
        """The MCP server agents see. Only tools are served; any other request is unknown here and refused."""
        return Server("remit", version=__version__, on_list_tools=self._list, on_call_tool=self._call)

    async def _list(self, ctx: Any, params: Any) -> types.ListToolsResult:
        offered = await _tools(self._child)
        try:
            shown = [tool for tool in offered if await self._reviewed(tool)]
        except RemitError as error:
            raise MCPError(types.INTERNAL_ERROR, f"Remit did not answer, so no tool is offered. {error}") from error
        return types.ListToolsResult(tools=[types.Tool.model_validate(tool) for tool in shown])

    async def _reviewed(self, tool: Mapping[str, Any]) -> bool:
        name = _catalogue_name(self._prefix, tool["name"])
        purpose = await self._task.get(f"/v1/purposes/{self._purpose}")
        if name not in {grant["tool"] for grant in purpose["grants"]}:
            return False
        reviewed = await self._task.get(f"/v1/tools/{name}")
        return bool(reviewed["pin"]) and reviewed["pin"] == pin(tool)

    async def _call(self, ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = next((t for t in await _tools(self._child) if t["name"] == params.name), None)
        if tool is None:
            return _refusal("deny", f"There is no tool {params.name}.", {"reasons": ["tool_unknown"]})
        arguments = dict(params.arguments or {})
        try:
            await self._decide(ctx, _catalogue_name(self._prefix, params.name), arguments, pin(tool))
        except Held as held:
            said = f"Held: a person must agree first ({', '.join(held.approvers)}). Their page: {held.url} "
            said += "When they have agreed, call again with exactly the same arguments."
            return _refusal("hold", said, {"approval": {"id": held.approval, "url": held.url}})
        except Denied as denied:
            return _refusal("deny", f"Denied: {denied}", {"reasons": list(denied.reasons)})
        except RemitError as error:
            return _refusal("deny", f"Denied, because Remit gave no answer. {error}", {"reasons": ["unreachable"]})
        return await self._forward(params.name, arguments)

    async def _decide(self, ctx: Any, name: str, arguments: dict[str, Any], seen: str) -> None:
        deadline = time.monotonic() + self._budget
        while True:
            try:
                await self._task.call(name, arguments, wait=0, pin=seen)
                return
            except Held as held:
                while (left := deadline - time.monotonic()) > 0:
                    message = f"waiting for {', '.join(held.approvers)}: {held.url}"
                    await ctx.session.report_progress(self._budget - left, self._budget, message)
                    if await self._task.wait_for(held.approval, min(2.0, left)):
                        break
                else:
                    raise

    async def _forward(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        try:
            result = await self._child.call_tool(name, arguments)
        except (MCPError, TimeoutError, OSError) as failure:
            return _refusal("permit", f"The tool's server failed: {type(failure).__name__}.", {"failed": True})
        if len(result.model_dump_json()) > RESULT_LIMIT:
            return _refusal("permit", f"The tool answered more than {RESULT_LIMIT} bytes.", {"failed": True})
        return result


async def _tools(child: Client) -> list[dict[str, Any]]:
    """What the server says now: a description may change at any time, so it is never remembered."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await child.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
        found += [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in page.tools]
        cursor = page.next_cursor
        if not cursor or len(found) >= TOOLS_LIMIT:
            return found[:TOOLS_LIMIT]


def _catalogue_name(server: str, tool: str) -> str:
    return f"{server}.{tool}" if server else tool


def _refusal(decision: str, text: str, more: dict[str, Any]) -> types.CallToolResult:
    structured = {"remit": {"decision": decision, **more}}
    content: list[Any] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=json.loads(json.dumps(structured)), is_error=True)
