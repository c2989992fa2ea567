"""The way to one of many servers that all answer to names, not to where they are: `DOOR` says to which, `TRACE` for what."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar

import httpx

DOOR: ContextVar[str] = ContextVar("door")
TRACE: ContextVar[str] = ContextVar("trace", default="")


class Doors(httpx.AsyncBaseTransport):
    """Every request goes to the door that `DOOR` names, whatever name it was addressed to; TLS is for that name."""

    def __init__(self, doors: Mapping[str, str], ca: str) -> None:
        self._doors = doors
        self.copied: deque[tuple[str, str, httpx.Request]] = deque(maxlen=20_000)  # trace, door, request
        context = ssl.create_default_context(cafile=ca)
        self._inner = httpx.AsyncHTTPTransport(
            verify=context, limits=httpx.Limits(max_connections=400, max_keepalive_connections=100, keepalive_expiry=10)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host
        if request.url.path.endswith("/calls"):
            content = await request.aread()
            copy = httpx.Request(request.method, request.url, headers=request.headers.raw, content=content)
            self.copied.append((TRACE.get(), DOOR.get(), copy))
        request.url = request.url.copy_with(host=self._doors[DOOR.get()])
        request.extensions = {**request.extensions, "sni_hostname": name}
        if TRACE.get():
            request.headers["traceparent"] = f"00-{TRACE.get()}-{'1' * 16}-00"
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()
