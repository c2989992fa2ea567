"""HTTP/1.1 to one origin, for the two questions that every call waits for: a connection kept, a request, an answer.

What a general client does for any server costs more here than Remit's answer. This one knows no redirects, proxies,
cookies or compression, and nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

ANSWER_LIMIT = 4 * 1024 * 1024
KEPT = 64
CONNECT = 2.0
FRESH_FOR = 10.0  # servers close idle connections; one this old is not trusted with a request


class BadAnswer(Exception):
    """No answer, half of one, or too much of one."""


@dataclass
class _Reply:
    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    done: bool = False
    keep: bool = False
    parser: httptools.HttpResponseParser | None = None

    def on_headers_complete(self) -> None:
        self.keep = self.parser is not None and self.parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > ANSWER_LIMIT:
            raise BadAnswer(f"more than {ANSWER_LIMIT} bytes")

    def on_message_complete(self) -> None:
        self.done = True


class LeanHttp:
    """Connections to `url`'s origin, each used by one request at a time."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        fixed = {"Host": parts.netloc, "Accept": "application/json", **headers}
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(
        self, method: str, target: str, body: bytes = b"", media: str = "", patience: float = 5.0
    ) -> tuple[int, bytes]:
        """(status, body); raises `BadAnswer`, `OSError` or `TimeoutError`."""
        if not target.isascii() or any(c <= " " for c in target):
            raise BadAnswer("not a request target")
        head = f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._fixed}Content-Length: {len(body)}\r\n"
        if media:
            head += f"Content-Type: {media}\r\n"
        async with asyncio.timeout(patience + CONNECT):
            reader, writer = await self._connection()
            kept = False
            try:
                writer.write(head.encode("ascii") + b"\r\n" + body)
                reply = await self._read(reader)
                kept = reply.keep
                return reply.status, bytes(reply.body)
            except httptools.HttpParserError as bad:
                raise BadAnswer(f"not HTTP: {type(bad).__name__}") from bad
            finally:
                if kept and len(self._idle) < KEPT:
                    self._idle.append((asyncio.get_running_loop().time(), reader, writer))
                else:
                    writer.close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        now = asyncio.get_running_loop().time()
        while self._idle:
            since, reader, writer = self._idle.pop()
            if now - since < FRESH_FOR and not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        async with asyncio.timeout(CONNECT):
            return await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=ANSWER_LIMIT)

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> _Reply:
        reply = _Reply()
        parser = reply.parser = httptools.HttpResponseParser(reply)
        while not reply.done:
            data = await reader.read(65_536)
            if not data:
                raise BadAnswer("the connection was closed")
            parser.feed_data(data)
        reply.status = parser.get_status_code()
        return reply

    async def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            _, _, writer = self._idle.pop()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
