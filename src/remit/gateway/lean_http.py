"""HTTP/1.1 to one origin, for what every call waits for: a connection kept, a request, an answer.

What a general client does for any server costs more here than the answer. This one knows no redirects, proxies,
cookies or compression, and nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

import httptools

ANSWER_LIMIT = 4 * 1024 * 1024
HEAD_LIMIT = 64 * 1024
KEPT = 64
CONNECT = 2.0
FRESH_FOR = 10.0  # servers close idle connections; one this old is not trusted with a request
Headers = Iterable[tuple[str, str]]


class BadAnswer(Exception):
    """No answer, half of one, or too much of one."""


class NobodyThere(OSError):
    """There is no connection, so nothing was sent."""


class Answer:
    """An answer whose head is there: its body is read as it comes, or `close` gives it up."""

    def __init__(self, http: LeanHttp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._http, self._reader, self._writer = http, reader, writer
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._size = 0
        self._headed = self._done = self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))
        self._size += len(name) + len(value)
        if self._size > HEAD_LIMIT:
            raise BadAnswer("too many headers")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._headed, self._keep = self.status >= 200, self._parser.should_keep_alive()
        if not self._headed:
            self.headers.clear()

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        self._done = self._headed

    async def head(self, patience: float) -> None:
        """Wait for it."""
        while not self._headed:
            await self._more(patience)

    async def chunks(self, patience: float) -> AsyncIterator[bytes]:
        """The body's pieces; each may take as long as `patience`."""
        while True:
            while self._chunks:
                yield self._chunks.pop(0)
            if self._done:
                return
            await self._more(patience)

    async def _more(self, patience: float) -> None:
        async with asyncio.timeout(patience):
            data = await self._reader.read(65_536)
        if not data:
            raise BadAnswer("the connection was closed")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as bad:
            raise BadAnswer(f"not HTTP: {type(bad).__name__}") from bad

    def close(self) -> None:
        """Keep the connection if the whole answer was read, and the server keeps it too."""
        self._http.give_back(self._reader, self._writer, keep=self._done and self._keep and not self._chunks)
        self._done, self._keep = True, False


class LeanHttp:
    """Connections to `url`'s origin, each used by one request at a time. `headers` go with each."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._fixed = _lines({"Host": parts.netloc, **headers}.items())
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, method: str, target: str, headers: Headers, body: bytes, patience: float) -> Answer:
        """The answer's head; whoever gets it closes it. Raises `BadAnswer`, `OSError` or `TimeoutError`."""
        if not target.startswith("/") or not target.isascii() or any(c <= " " for c in target):
            raise BadAnswer("not a request target")
        head = f"{method} {target} HTTP/1.1\r\n{self._fixed}{_lines(headers)}Content-Length: {len(body)}\r\n\r\n"
        reader, writer = await self._connection()
        answer = Answer(self, reader, writer)
        try:
            writer.write(head.encode("latin-1") + body)
            await writer.drain()
            await answer.head(patience)
        except BaseException:
            answer.close()
            raise
        return answer

    async def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        media: str = "",
        patience: float = 5.0,
        more: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """(status, body), all of it within `patience`."""
        found = bytearray()
        async with asyncio.timeout(patience + CONNECT):
            headers = [*([("Content-Type", media)] if media else []), *(more or {}).items()]
            answer = await self.send(method, target, headers, body, patience)
            try:
                async for chunk in answer.chunks(patience):
                    found += chunk
                    if len(found) > ANSWER_LIMIT:
                        raise BadAnswer(f"more than {ANSWER_LIMIT} bytes")
            finally:
                answer.close()
        return answer.status, bytes(found)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        now = asyncio.get_running_loop().time()
        while self._idle:
            since, reader, writer = self._idle.pop()
            if now - since < FRESH_FOR and not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        try:
            async with asyncio.timeout(CONNECT):
                return await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        except (OSError, TimeoutError) as failure:
            raise NobodyThere(str(failure) or type(failure).__name__) from failure

    def give_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool) -> None:
        """A connection for the next request, or none."""
        if keep and len(self._idle) < KEPT and not writer.is_closing():
            self._idle.append((asyncio.get_running_loop().time(), reader, writer))
        else:
            writer.close()

    async def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            _, _, writer = self._idle.pop()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def _lines(headers: Headers) -> str:
    found = [f"{name}: {value}\r\n" for name, value in headers]
    if any(c in line[:-2] for line in found for c in "\r\n\0"):
        raise BadAnswer("not a header")
    return "".join(found)
