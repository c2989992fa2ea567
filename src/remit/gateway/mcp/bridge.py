"""Stdio towards an agent, the gateway behind: an unmodified client that can only start a command has all its tools too.

What passes is not looked at, nor could this process decide anything: the gateway does. It holds the agent's key, signs
for each request, and opens and ends the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import httpx2
import mcp_types as types
from mcp import stdio_server
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    mcp_param_headers,
    x_mcp_header_map,
)
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp_types import PROTOCOL_VERSION_META_KEY

from remit_client import AsyncTask, Unreachable, mcp_http

from .stdio import standard_streams

_Headers = dict[str, str]


async def bridge(task: AsyncTask, url: str) -> None:
    """Until either side closes. Raises `Unreachable`, or `RemitError` when the task has no token for it."""
    try:
        async with (
            mcp_http.client(await task.auth(url)) as http,
            streamable_http_client(url, http_client=http) as (far, to_far),
            stdio_server(*standard_streams()) as (near, to_near),
            anyio.create_task_group() as both,
        ):
            spoken = Spoken()

            async def ask() -> None:
                async for message in near:
                    if isinstance(message, SessionMessage):
                        await to_far.send(spoken.asked(message))
                both.cancel_scope.cancel()

            async def answer() -> None:
                async for message in far:
                    if isinstance(message, SessionMessage):
                        spoken.answered(message)
                        await to_near.send(message)
                both.cancel_scope.cancel()

            both.start_soon(ask)
            both.start_soon(answer)
    except* (httpx2.HTTPError, OSError) as failures:
        said = str(failures.exceptions[0]) or type(failures.exceptions[0]).__name__
        raise Unreachable(f"The gateway at {url} cannot be reached: {said}", next_step="Is it running?") from failures


class Spoken:
    """What goes over HTTP in headers besides, which stdio has not: the revision, and in 2026-07-28 what is asked."""

    def __init__(self) -> None:
        self._version = ""
        self._begun: set[Any] = set()
        self._listed: set[Any] = set()
        self._params: dict[str, Mapping[tuple[str, ...], str]] = {}

    def asked(self, message: SessionMessage) -> SessionMessage:
        """With its headers."""
        said = message.message
        if not isinstance(said, types.JSONRPCRequest | types.JSONRPCNotification):
            return message
        params = said.params or {}
        if isinstance(said, types.JSONRPCRequest):
            if said.method == "initialize":
                self._version = ""
                self._begun.add(said.id)
                return message
            if said.method == "tools/list":
                self._listed.add(said.id)
        meta = params.get("_meta")
        version = meta.get(PROTOCOL_VERSION_META_KEY) if isinstance(meta, Mapping) else None
        if isinstance(version, str):
            return SessionMessage(said, ClientMessageMetadata(headers=self._modern(said.method, version, params)))
        headers = {MCP_PROTOCOL_VERSION_HEADER: self._version} if self._version else {}
        return SessionMessage(said, ClientMessageMetadata(headers=headers))

    def _modern(self, method: str, version: str, params: Mapping[str, Any]) -> _Headers:
        headers = {MCP_PROTOCOL_VERSION_HEADER: version, MCP_METHOD_HEADER: method}
        name = params.get(NAME_BEARING_METHODS.get(method, ""))
        if isinstance(name, str):
            headers[MCP_NAME_HEADER] = encode_header_value(name)
            arguments = params.get("arguments")
            if method == "tools/call" and name in self._params and isinstance(arguments, Mapping):
                headers |= mcp_param_headers(self._params[name], arguments)
        return headers

    def answered(self, message: SessionMessage) -> None:
        """Learn what the headers of later requests need."""
        said = message.message
        if not isinstance(said, types.JSONRPCResponse):
            return
        if said.id in self._begun:
            self._begun.discard(said.id)
            self._version = str(said.result.get("protocolVersion", ""))
        if said.id in self._listed:
            self._listed.discard(said.id)
            for tool in said.result.get("tools", []):
                if isinstance(tool, Mapping) and (found := x_mcp_header_map(tool.get("inputSchema"))):
                    self._params[str(tool.get("name"))] = found
