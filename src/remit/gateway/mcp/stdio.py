"""This process's standard input and output for an MCP server, such that stopping never waits for the other side.

The SDK's own streams block in threads that nothing can interrupt: a signal would end neither the process nor, worse,
its task. Here the blocking is done by daemon threads, and whoever waits for them may leave.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, cast

import anyio

LINE_LIMIT = 4 * 1024 * 1024


class _Blocking:
    """One daemon thread for calls that may block for ever; awaiting one may be cancelled, the call then is orphaned."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]]] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    async def __call__(self, call: Callable[[], Any]) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._work.put((call, future))
        return await future

    def _run(self) -> None:
        while True:
            call, future = self._work.get()
            result, error = None, None
            try:
                result = call()
            except OSError as failure:
                error = failure
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_settle, future, result, error)


def _settle(future: asyncio.Future[Any], result: Any, error: OSError | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class Lines:
    """The lines of a descriptor, as the SDK iterates them. A line over `LINE_LIMIT` bytes ends them, as EOF does."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread = _Blocking()
        self._got = bytearray()
        self._searched = 0

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        while (end := self._got.find(b"\n", self._searched)) < 0:
            self._searched = len(self._got)
            try:
                chunk = await self._thread(lambda: os.read(self._descriptor, 65_536))
            except OSError:
                chunk = b""
            if not chunk or len(self._got) + len(chunk) > LINE_LIMIT:
                raise StopAsyncIteration
            self._got += chunk
        line = bytes(self._got[:end])
        del self._got[: end + 1]
        self._searched = 0
        return line.decode("utf-8", "replace")


class Output:
    """Text to a descriptor, as the SDK writes it. The far end's going away closes it quietly."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread = _Blocking()

    async def write(self, text: str) -> None:
        """All of it."""
        data = text.encode("utf-8", "replace")
        try:
            await self._thread(lambda: _write_all(self._descriptor, data))
        except OSError as gone:
            raise anyio.ClosedResourceError from gone

    async def flush(self) -> None:
        """Nothing is kept back."""


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def standard_streams() -> tuple[anyio.AsyncFile[str], anyio.AsyncFile[str]]:
    """(stdin, stdout) to give to the SDK's `stdio_server`, which iterates the one and writes to the other."""
    return cast("anyio.AsyncFile[str]", Lines(0)), cast("anyio.AsyncFile[str]", Output(1))
