"""An MCP server over HTTP that remembers what reached it, and misbehaves when it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import mcp_types as types
import uvicorn
from mcp.server.lowlevel.server import Server

from .gates import free_port

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


class Web:
    """`tools` are served as they are now; `answers` by tool name say what a call does; `before` may answer instead."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.tools = [types.Tool(name="fetch", description="Fetch.", input_schema=SCHEMA)]
        self.answers: dict = {}
        self.before = None
        self.heard: list[dict[str, str]] = []
        self.called: list[tuple[str, dict]] = []

    async def _list(self, ctx, params):
        return types.ListToolsResult(tools=list(self.tools))

    async def _call(self, ctx, params):
        self.called.append((params.name, dict(params.arguments or {})))
        if params.name in self.answers:
            return await self.answers[params.name](ctx, params)
        return types.CallToolResult(content=[types.TextContent(type="text", text=f"fetched {params.arguments}")])

    async def _resources(self, ctx, params):
        return types.ListResourcesResult(resources=[types.Resource(uri="note://one", name="one")])

    async def _read(self, ctx, params):
        self.called.append(("resource", {"uri": str(params.uri)}))
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text="its text")])

    def app(self):
        server = Server(
            "web",
            on_list_tools=self._list,
            on_call_tool=self._call,
            on_list_resources=self._resources,
            on_read_resource=self._read,
        )
        inner = self.inner = server.streamable_http_app(streamable_http_path="/mcp", host="127.0.0.1")

        async def outer(scope, receive, send):
            if scope["type"] == "http":
                self.heard.append({k.decode(): v.decode() for k, v in scope["headers"]} | {"path": scope["path"]})
                if self.before is not None and await self.before(scope, receive, send):
                    return
            await inner(scope, receive, send)

        return outer

    @contextmanager
    def running(self) -> Iterator[Web]:
        config = uvicorn.Config(
            self.app(), port=self.port, log_level="error", lifespan="on", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
        thread.start()
        while not server.started:
            threading.Event().wait(0.02)
        try:
            yield self
        finally:
            server.should_exit = True
            thread.join(10)


async def answer(send, status: int, headers: dict[str, str], body: bytes = b"") -> bool:
    found = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": found})
    await send({"type": "http.response.body", "body": body})
    return True


def sent(tool: types.Tool) -> dict:
    return json.loads(tool.model_dump_json(by_alias=True, exclude_none=True))
