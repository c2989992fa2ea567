"""Bounds on what strangers send: answers to an httpx client, requests to an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from .asgi import App, Receive, Scope, Send


class BoundedTransport(httpx.AsyncHTTPTransport):
    """Answers of so many bytes at most; what is longer raises `httpx.RemoteProtocolError`."""

    def __init__(self, ca: Any, limit: int) -> None:
        super().__init__(verify=ca, trust_env=False)
        self._limit = limit

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        answer = await super().handle_async_request(request)
        answer.stream = _Counted(answer.stream, self._limit)  # type: ignore[arg-type]
        return answer


class _Counted(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, limit: int) -> None:
        self._inner, self._left = inner, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise httpx.RemoteProtocolError("too much of an answer")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def bounded(app: App, limit: int) -> App:
    """Requests of at most `limit` bytes; to the application, whoever sends more has hung up."""

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        left = limit

        async def counted() -> Any:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        await app(scope, counted, send)

    return counting
