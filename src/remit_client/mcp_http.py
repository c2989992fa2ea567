"""The official MCP SDK's client against a Remit gateway, unmodified: the SDK speaks httpx2, whose `Auth` is its own.

async with mcp_http.client(await task.auth(url)) as http:
    async with Client(streamable_http_client(url, http_client=http)) as client: …
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx
import httpx2

from .dpop import DPoPAuth

TIMEOUT = httpx2.Timeout(30.0, read=300.0)


class Auth(httpx2.Auth):
    """The same as `DPoPAuth`, request by request, for httpx2: one origin, a fresh token, a fresh proof."""

    def __init__(self, auth: DPoPAuth) -> None:
        self._auth = auth

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """See `httpx2.Auth`."""
        twin = httpx.Request(request.method, str(request.url))
        async for bound in self._auth.async_auth_flow(twin):
            for name in ("Authorization", "DPoP"):
                request.headers.pop(name, None)
                if name in bound.headers:
                    request.headers[name] = bound.headers[name]
            yield request
            return


def client(auth: DPoPAuth) -> httpx2.AsyncClient:
    """An httpx2 client with the SDK's own patience; redirects are not followed, and no proxy is asked."""
    return httpx2.AsyncClient(auth=Auth(auth), timeout=TIMEOUT, trust_env=False)
