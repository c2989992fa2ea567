"""One live session with one MCP server, for one task: never shared between callers.

What a server says may be long, late, deep, hostile, or change at any time; here it is bounded and read as it is now.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from remit.domain.catalogue import ServerConfig
from remit.domain.errors import BadField
from remit.formats import mcp_server
from remit.formats.jcs import digest
from remit.formats.mcp_pin import pin
from remit_client import RemitError

from ..bounded_http import Bounded
from ..secrets import Injected, NoSecrets
from .processes import process
from .relay import Face, Relay

CALL_TIMEOUT = 120.0
TOOLS_LIMIT = 1000
PAGES_LIMIT = 100
FAILURES = (
    MCPError,
    TimeoutError,
    OSError,
    ValueError,
    RuntimeError,
    RecursionError,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
    httpx2.HTTPError,
)
_GONE = (OSError, RuntimeError, anyio.ClosedResourceError, anyio.BrokenResourceError, httpx2.HTTPError)
CONNECTION_CLOSED = -32000


class ListTooLong(ValueError):
    """Our own words about a list without end."""


def first(failure: BaseException) -> str:
    """What went wrong, of however many things at once."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return str(failure) or type(failure).__name__


def ours(failure: BaseException) -> str:
    """What may be said of a failure before anybody observes a server's words: our own, or its kind."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return str(failure) if isinstance(failure, ListTooLong | RemitError) else type(failure).__name__


@asynccontextmanager
async def connected(
    config: ServerConfig, env: Mapping[str, str] | None = None, held: Injected = NoSecrets, face: Face | None = None
) -> AsyncIterator[Upstream]:
    """A live server. With a secret, what it prints on standard error is not for the agent to read."""
    face = face or Face(can=config.asks)
    relay = Relay([word for word in config.asks if word in face.can])
    async with AsyncExitStack() as stack:
        try:
            streams = await _transport(stack, config, env or {}, held)
            mode = "legacy" if face.legacy else "auto"
            client = Client(streams, mode=mode, read_timeout_seconds=CALL_TIMEOUT, **relay.callbacks(), cache=None)
            found = Upstream(config, await stack.enter_async_context(client), held, relay)
        except (*FAILURES, ExceptionGroup) as failure:
            where = config.command[0] if config.command else config.url
            step = f"Run {where} by itself to see why." if config.command else f"Is {where} an MCP server?"
            said = held.without(first(failure))
            raise RemitError(f"The MCP server did not start: {said}.", next_step=step) from failure
        yield found


async def _transport(stack: AsyncExitStack, config: ServerConfig, env: Mapping[str, str], held: Injected) -> Any:
    if config.command:
        return process(config.command, {**env, **held.variables}, quiet=bool(held.variables))
    headers = {name: f"Bearer {value}" for name, value in held.variables.items()}
    http = httpx2.AsyncClient(
        headers=headers,
        transport=Bounded(config.url, CALL_TIMEOUT),
        timeout=httpx2.Timeout(CALL_TIMEOUT, connect=5.0),
        follow_redirects=False,
        trust_env=False,
    )
    await stack.enter_async_context(http)
    return streamable_http_client(config.url, http_client=http)


class Upstream:
    """What is asked of the server, and what was said last."""

    def __init__(
        self, config: ServerConfig, client: Client, held: Injected = NoSecrets, relay: Relay | None = None
    ) -> None:
        self.config = config
        self.client = client
        self.held = held
        self.relay = relay or Relay(())
        self.broken = False
        self.used_at = time.monotonic()
        self.calls = 0
        self.served = 0
        self.origin = mcp_server.origin(config) if config.command or config.url else None
        self._methods: dict[str, str] = {}
        self._tools: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, str] = {}
        self._asked_now: asyncio.Task[list[dict[str, Any]]] | None = None
        self._asked_next: asyncio.Task[list[dict[str, Any]]] | None = None
        self._pins: dict[str, tuple[Mapping[str, Any], str]] = {}  # of those very objects
        self._watches: dict[str, asyncio.Task[None]] = {}

    @property
    def modern(self) -> bool:
        """Whether the session is of 2026-07-28 or newer."""
        return self.client.protocol_version in MODERN_PROTOCOL_VERSIONS

    def pin(self, tool: Mapping[str, Any]) -> str:
        """Its pin here; empty for what cannot be pinned, and so not be reviewed."""
        known = self._pins.get(str(tool["name"]))
        if known is not None and known[0] is tool:
            return known[1]
        try:
            found = pin(tool, self.origin)
        except BadField:
            found = ""
        if self._tools.get(str(tool["name"])) is tool:
            self._pins[str(tool["name"])] = (tool, found)
        return found

    def pin_of_method(self, method: str) -> str:
        """The pin of `SERVER.resources.read` and the like: of the method and where the server comes from."""
        found = self._methods.get(method)
        if found is None:
            found = self._methods[method] = digest({"method": method, "server": self.origin or {}})
        return found

    def last(self, name: str) -> dict[str, Any] | None:
        """What it last said of this tool."""
        return self._tools.get(name)

    async def tools(self) -> list[dict[str, Any]]:
        """All its tools, as it sends them now: nothing it said before counts. Of two of one name the first exists.

        Who comes while it is being asked shares the next answer, which is asked for after they came.
        """
        asking = self._asked_now if self._asked_now is None else self._asked_next
        if asking is None:
            asking = asyncio.create_task(self._read(after=self._asked_now))
            if self._asked_now is None:
                self._asked_now = asking
            else:
                self._asked_next = asking
            asking.add_done_callback(self._answered)
        return await asyncio.shield(asking)

    def _answered(self, done: asyncio.Task[Any]) -> None:
        done.cancelled() or done.exception()  # whoever waits for it is told
        self._asked_now, self._asked_next = self._asked_next, None

    async def _read(self, after: asyncio.Task[Any] | None) -> list[dict[str, Any]]:
        if after is not None:
            await asyncio.wait([after])
        found: dict[str, str] = {}
        cursor: str | None = None
        for _ in range(PAGES_LIMIT):
            page = await self._watched(
                self.client.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
            )
            for tool in page.tools:
                if tool.name not in found:
                    found[tool.name] = tool.model_dump_json(by_alias=True, exclude_none=True)
            cursor = page.next_cursor
            if not cursor or len(found) >= TOOLS_LIMIT:
                return self._keep(dict(list(found.items())[:TOOLS_LIMIT]))
        raise ListTooLong(f"its list of tools has more than {PAGES_LIMIT} pages")

    def _keep(self, found: dict[str, str]) -> list[dict[str, Any]]:
        """What was said before, to the byte, is the same object, and its pin need not be computed again."""
        old, tools = self._texts, self._tools
        self._tools = {n: tools[n] if old.get(n) == text else json.loads(text) for n, text in found.items()}
        self._texts = found
        self._pins = {name: kept for name, kept in self._pins.items() if self._tools.get(name) is kept[0]}
        return list(self._tools.values())

    async def call(self, name: str, arguments: dict[str, Any], front: Any, **more: Any) -> Any:
        """`tools/call`; numbers of its progress reach the agent's side, its words about it do not."""

        async def progress(done: float, total: float | None, message: str | None) -> None:
            await front.session.report_progress(done, total)

        with self.relay.answering(front):
            call: Any = self.client.session.call_tool
            asked = call(name, arguments, progress_callback=progress, allow_input_required=True, **more)
            result = await self._watched(asked)
            self.served += 1
            return result

    async def ask(self, asked: Any, front: Any) -> Any:
        """Another of the SDK session's requests, on behalf of `front`."""
        with self.relay.answering(front):
            return await self._watched(asked)

    async def watch(self, uri: str) -> None:
        """From now on `relay.heard` is told when this resource changes: each revision of MCP has its own way."""
        if not self.modern:
            request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))
            await self.ask(self.client.session.send_request(request, types.EmptyResult), None)
        elif uri not in self._watches:
            begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watches[uri] = asyncio.create_task(self._listen(uri, begun))
            await begun

    async def unwatch(self, uri: str) -> None:
        """Nobody wants to know any more."""
        if not self.modern:
            request = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=uri))
            await self.ask(self.client.session.send_request(request, types.EmptyResult), None)
        elif (watch := self._watches.pop(uri, None)) is not None:
            watch.cancel()

    async def _listen(self, uri: str, begun: asyncio.Future[None]) -> None:
        """A stream of its own, in a task of its own: the SDK's scope must be left where it was entered."""
        try:
            async with self.client.listen(resource_subscriptions=[uri]) as stream:
                if uri not in (stream.honored.resource_subscriptions or ()):
                    raise MCPError(types.INVALID_REQUEST, "it tells nothing of this resource")
                begun.set_result(None)
                async for event in stream:
                    if isinstance(event, ResourceUpdated) and event.uri == uri:
                        self.relay.heard.changed(uri)
        except FAILURES as failure:
            if not begun.done():
                begun.set_exception(failure)
        finally:
            if self._watches.get(uri) is asyncio.current_task():
                del self._watches[uri]
                if begun.done() and not begun.cancelled() and begun.exception() is None:
                    self.relay.heard.lose(uri)
            begun.cancel()

    async def _watched(self, asked: Any) -> Any:
        self.calls += 1
        self.used_at = time.monotonic()
        try:
            return await asked
        except _GONE:
            self.broken = True
            raise
        except MCPError as error:
            self.broken = self.broken or error.code == CONNECTION_CLOSED or "Session terminated" in error.message
            raise
        finally:
            self.calls -= 1
            self.used_at = time.monotonic()
