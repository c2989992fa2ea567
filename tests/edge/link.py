"""A TCP link between two processes that can be cut, delayed, and made to swallow what it is given."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Link:
    """Everything that connects to `port` reaches `target`, as far as the link lets it."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._cut = False
        self._delay = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self.port = 0
        self.url = ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        self._do(self._loop.stop)
        self._thread.join(5)

    def cut(self) -> None:
        """Every connection breaks, and new ones are refused by closing them."""
        self._cut = True
        self._do(self._break)

    def blackhole(self) -> None:
        """Connections stay, and nothing arrives at either end until the link heals; then all of it does."""
        self._do(self._open.clear)

    def delay(self, seconds: float) -> None:
        """Each piece arrives so much later."""
        self._delay = seconds

    def heal(self) -> None:
        self._cut, self._delay = False, 0.0
        self._do(self._open.set)

    def retarget(self, port: int) -> None:
        self._target = port

    def _do(self, what) -> None:
        self._loop.call_soon_threadsafe(what)

    def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._open.set()

        async def listen() -> None:
            server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{self.port}"
            self._ready.set()

        self._loop.run_until_complete(listen())
        self._loop.run_forever()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._open.wait()
            if self._cut:
                return
            there, to_there = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(to_there)
            await asyncio.gather(self._carry(reader, to_there), self._carry(there, writer))
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65_536):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._open.wait()
                if self._cut:
                    break
                writer.write(piece)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)


@contextmanager
def link(target: int) -> Iterator[Link]:
    """A link to this port."""
    made = Link(target)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
