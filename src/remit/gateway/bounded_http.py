"""HTTP to one MCP server and no other: an exact origin, answers of bounded size, no redirect, no proxy, no cookies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

from .processes import MESSAGE_LIMIT


class Bounded(httpx2.AsyncBaseTransport):
    """Whatever asks, a request to another origin is not sent: a credential in its headers was meant for this one."""

    def __init__(self, url: str) -> None:
        self._origin = _origin(httpx2.URL(url))
        self._inner = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=32), trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`."""
        if _origin(request.url) != self._origin or request.url.userinfo:
            raise httpx2.RequestError("the server sent us to another origin", request=request)
        request.headers.pop("cookie", None)
        response = await self._inner.handle_async_request(request)
        if response.is_redirect:
            await response.aclose()
            raise httpx2.RequestError("the server sent us elsewhere (a redirect)", request=request)
        response.headers.pop("set-cookie", None)
        stream = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        if not stream:  # the SDK bounds each event of a stream
            response.stream = _Counted(response.stream)  # type: ignore[arg-type]
        return response

    async def aclose(self) -> None:
        """See `httpx2.AsyncBaseTransport`."""
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for chunk in self._inner:
            count += len(chunk)
            if count > MESSAGE_LIMIT:
                raise httpx2.ReadError(f"the server answered more than {MESSAGE_LIMIT} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return (url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))
