"""An enforcement point for any stdio MCP server: every `tools/call` is decided before it is forwarded.

It runs beside the agent and speaks MCP on both sides through the official SDK. Only tools that the task's
purpose grants, and whose description is the reviewed one, are listed or called. When Remit does not answer, nothing
is forwarded. What a model is told never names a policy: it says what to ask for and of whom. The server's log
messages are not passed on: MCP has deprecated them (SEP-2577), and nobody reviewed what they say.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import anyio
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters, stdio_client, stdio_server
from mcp.server.lowlevel.server import Server

from remit import __version__
from remit.domain.errors import BadField
from remit.formats.mcp_pin import pin, shown
from remit_client import AsyncRemit, AsyncTask, Denied, Held, NotFound, RemitError, Unreachable

from .secrets import Injected, NoSecrets, injected
from .stdio import standard_streams

CALL_TIMEOUT = 120.0
RESULT_LIMIT = 4 * 1024 * 1024
TOOLS_LIMIT = 1000
PAGES_LIMIT = 100
_FAILURES = (MCPError, TimeoutError, OSError, ValueError, anyio.ClosedResourceError, anyio.BrokenResourceError)


async def describe(command: list[str], server: str = "") -> list[tuple[str, dict[str, Any], str]]:
    """A live server's tools: (catalogue name, description as sent, pin). A tool that cannot be pinned has none: ''."""
    async with _connected(command) as child:
        try:
            tools = await _tools(child)
        except _FAILURES as failure:
            raise RemitError(f"The MCP server does not list its tools: {_first(failure)}") from failure
    return [(_catalogue_name(server, tool["name"]), tool, _pin(tool)) for tool in tools]


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
    secrets: Mapping[str, str] | None = None,
    remit: AsyncRemit | None = None,
) -> None:
    """Serve MCP on our stdin and stdout until they close or a signal comes; a task opened here ends on the way out.

    The server gets a minimal environment and `env`, never the agent's own: no REMIT_ variable reaches it. `secrets`
    are credentials of the task by the variable that the server gets them in, and the agent never does: the server is
    stopped as soon as the lease of one is over. Raises `RemitError` when there is no task to be had, or no server.
    """
    remit = remit or AsyncRemit()
    opened = remit.adopt(purpose, task) if task else remit.propose(purpose, goal, parameters or {})
    serving = anyio.CancelScope()
    _on_signals(serving.cancel)
    try:
        async with opened as within:
            held = NoSecrets
            with serving:
                async with (
                    injected(remit.agent.url, within.id, secrets or {}, serving.cancel) as held,
                    _connected(command, {**(env or {}), **held.variables}, quiet=bool(held.variables)) as child,
                    stdio_server(*standard_streams()) as (reader, writer),
                ):
                    front = EnforcementPoint(within, child, purpose, server, wait_budget_s, held).server()
                    await front.run(reader, writer, front.create_initialization_options())
            if held.over.is_set():
                raise Denied("A secret's lease is over, so its server was stopped.", reasons=("lease_over",))
            if serving.cancelled_caught and not task:
                await within.end("stopped by a signal")
    finally:
        await remit.close()


def _on_signals(stop: Callable[[], None]) -> None:
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        with suppress(NotImplementedError, AttributeError):  # Windows
            asyncio.get_running_loop().add_signal_handler(getattr(signal, name), stop)


@asynccontextmanager
async def _connected(
    command: list[str], env: Mapping[str, str] | None = None, *, quiet: bool = False
) -> AsyncIterator[Client]:
    """A live server. `quiet`: it has a secret, and what it prints of it on standard error is not for the agent."""
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=dict(env or {}))
    async with AsyncExitStack() as stack:
        try:
            errors = stack.enter_context(open(os.devnull, "w")) if quiet else sys.stderr  # noqa: SIM115, ASYNC230
            client = Client(stdio_client(parameters, errlog=errors), read_timeout_seconds=CALL_TIMEOUT)
            child = await stack.enter_async_context(client)
        except (*_FAILURES, ExceptionGroup) as failure:
            step = f"Run {command[0]} by itself to see why."
            raise RemitError(f"The MCP server did not start: {_first(failure)}.", next_step=step) from failure
        yield child


def _first(failure: BaseException) -> str:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return str(failure) or type(failure).__name__


class EnforcementPoint:
    """One agent's task in front of one MCP server."""

    def __init__(
        self,
        task: AsyncTask,
        child: Client,
        purpose: str,
        prefix: str,
        wait_budget_s: float,
        held: Injected = NoSecrets,
    ) -> None:
        self._task = task
        self._child = child
        self._purpose = purpose
        self._prefix = prefix
        self._budget = wait_budget_s
        self._held = held
        self._has_pin: set[str] = set()

    def server(self) -> Server[Any]:
        """The MCP server agents see. Only tools are served; any other request is unknown here and refused."""
        return Server("remit", version=__version__, on_list_tools=self._list, on_call_tool=self._call)

    async def _list(self, ctx: Any, params: Any) -> types.ListToolsResult:
        try:
            offered = await _tools(self._child)
            purpose = await self._task.get(f"/v1/purposes/{self._purpose}")
            granted = {grant["tool"] for grant in purpose["grants"]}
            named = [(tool, _catalogue_name(self._prefix, tool["name"])) for tool in offered]
            passing = [(t, name) for t, name in named if name in granted and not self._held.shows_in(json.dumps(t))]
            listed = [shown(t) for t, name in passing if await self._as_reviewed(name, _pin(t))]
        except RemitError as error:
            raise MCPError(types.INTERNAL_ERROR, f"Remit did not answer, so no tool is offered. {error}") from error
        except _FAILURES as failure:
            why = self._held.without(_first(failure))
            raise MCPError(types.INTERNAL_ERROR, f"The tools' server failed: {why}") from failure
        return types.ListToolsResult(tools=[types.Tool.model_validate(tool) for tool in listed])

    async def _as_reviewed(self, name: str, seen: str) -> bool:
        return bool(seen) and await self._reviewed_pin(name) == seen

    async def _reviewed_pin(self, name: str) -> str:
        """The pin in the catalogue; empty when nobody reviewed this tool as an MCP server describes it."""
        found = str((await self._task.get(f"/v1/tools/{quote(name, safe='')}"))["pin"])
        if found:
            self._has_pin.add(name)
        return found

    async def _must_have_pin(self, name: str) -> None:
        """Without a pin in the catalogue the decision has nothing to compare, and any description would pass."""
        with suppress(NotFound):  # then the decision says so, and records it
            if name not in self._has_pin and not await self._reviewed_pin(name):
                said = f"Nobody has reviewed how an MCP server describes {name!r}."
                raise Denied(said, reasons=("tool_unknown",))

    async def _call(self, ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        name, arguments = params.name, dict(params.arguments or {})
        try:
            tool = next((t for t in await _tools(self._child) if t["name"] == name), None)
            if tool is None:
                raise Denied(f"There is no tool {name}.", reasons=("tool_unknown",), next_step="List the tools.")
            await self._decide(ctx, _catalogue_name(self._prefix, name), arguments, _pin(tool))
        except Held as held:
            said = f"Held: a person must agree first ({', '.join(held.approvers)}). Their page: {held.url} "
            said += "When they have agreed, call again with exactly the same arguments."
            return _refusal("hold", said, {"approval": {"id": held.approval, "url": held.url}})
        except Denied as denied:
            said = f"Denied ({', '.join(denied.reasons)}): {denied}"
            return _refusal("deny", said, {"reasons": list(denied.reasons)})
        except Unreachable as error:
            return _refusal("deny", f"Denied, because Remit gave no answer. {error}", {"reasons": ["unreachable"]})
        except RemitError as error:
            return _refusal("deny", f"Denied: {error}", {"reasons": [error.code or "refused"]})
        except _FAILURES as failure:
            why = self._held.without(_first(failure))
            said = f"The tool's server failed before anything was decided: {why}. Nothing was done."
            return _refusal("deny", said, {"reasons": ["server_failed"], "failed": True})
        return await self._forward(name, arguments)

    async def _decide(self, ctx: Any, name: str, arguments: dict[str, Any], seen: str) -> None:
        deadline = time.monotonic() + self._budget
        await self._must_have_pin(name)
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
            said = result.model_dump_json()
        except Exception as failure:  # whatever a server does, it becomes an answer
            said = f"The tool's server failed: {self._held.without(_first(failure))}. Whether it acted is not known."
            return _refusal("permit", said, {"failed": True})
        if len(said) > RESULT_LIMIT:
            return _refusal("permit", f"The tool answered more than {RESULT_LIMIT} bytes.", {"failed": True})
        if self._held.shows_in(said):
            return _refusal("permit", "The tool answered with a secret; its answer was dropped.", {"failed": True})
        if _poses_as_remit(result.structured_content):
            return _refusal("permit", "The tool answered in Remit's name; its answer was dropped.", {"failed": True})
        return result


def _poses_as_remit(content: Any) -> bool:
    """Whether a server's own result could be read as ours, such as a made-up hold with an address to visit."""
    ours = content.get("remit") if isinstance(content, Mapping) else None
    return isinstance(ours, Mapping) and "decision" in ours


async def _tools(child: Client) -> list[dict[str, Any]]:
    """What the server says now: a description may change at any time, so it is never remembered."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(PAGES_LIMIT):
        page = await child.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
        found += [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in page.tools]
        cursor = page.next_cursor
        if not cursor or len(found) >= TOOLS_LIMIT:
            return found[:TOOLS_LIMIT]
    raise ValueError(f"its list of tools has more than {PAGES_LIMIT} pages")


def _pin(tool: Mapping[str, Any]) -> str:
    try:
        return pin(tool)
    except BadField:
        return ""


def _catalogue_name(server: str, tool: str) -> str:
    return f"{server}.{tool}" if server else tool


def _refusal(decision: str, text: str, more: dict[str, Any]) -> types.CallToolResult:
    structured = {"remit": {"decision": decision, **more}}
    content: list[Any] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=json.loads(json.dumps(structured)), is_error=True)
