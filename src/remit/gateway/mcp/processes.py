"""A stdio MCP server as a process group of its own: what it may say at once is bounded, and it never outlives us.

The SDK's own reader keeps a line that does not end, however long it is. Here such a line ends the connection.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import mcp_types as types
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

MESSAGE_LIMIT = 4 * 1024 * 1024
GRACE = 2.0
_Streams = tuple[Any, Any]


@asynccontextmanager
async def process(command: Sequence[str], env: Mapping[str, str], *, quiet: bool) -> AsyncIterator[_Streams]:
    """The SDK's (read, write) streams to a new process. Its environment is a minimal one, and `env`.

    `quiet`: it was given a secret, so what it prints on standard error is nobody's to read.
    """
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else sys.stderr,
        env={**get_default_environment(), **env},
        limit=4 * MESSAGE_LIMIT,
        start_new_session=True,
    )
    heard, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, said = anyio.create_memory_object_stream[SessionMessage](0)
    listening, speaking = asyncio.create_task(_listen(child, heard)), asyncio.create_task(_speak(child, said))
    try:
        yield read, write
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(child)
            for pump in (listening, speaking):
                pump.cancel()
            await asyncio.gather(listening, speaking, return_exceptions=True)
            for stream in (heard, read, write, said):
                stream.close()


async def _listen(child: asyncio.subprocess.Process, heard: Any) -> None:
    assert child.stdout is not None
    with (
        heard,
        suppress(ValueError, anyio.BrokenResourceError, anyio.ClosedResourceError),
    ):  # ValueError: over the limit
        while line := await child.stdout.readline():
            try:
                message: Any = SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
            except ValueError as bad:
                message = ValueError(f"the server sent {len(line)} bytes that are no message ({type(bad).__name__})")
            await heard.send(message)


async def _speak(child: asyncio.subprocess.Process, said: Any) -> None:
    assert child.stdin is not None
    with suppress(OSError):
        async for message in said:
            child.stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await child.stdin.drain()


async def _stop(child: asyncio.subprocess.Process) -> None:
    """Close its input, then ask, then kill: it and all it started."""
    if child.stdin is not None:
        child.stdin.close()
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        if number:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, number)
        with suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), GRACE)
            break
    with suppress(ProcessLookupError, PermissionError):  # what it left behind
        os.killpg(child.pid, signal.SIGKILL)
    child._transport.close()  # type: ignore[attr-defined]  # else its pipes are closed by the collector, aloud
