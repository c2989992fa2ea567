"""httpx authentication with a key-bound token, for exactly one origin."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from inspect import isawaitable
from ipaddress import ip_address

import httpx

from .errors import RemitError
from .keys import AgentKey

Origin = tuple[str, str, int]


class DPoPAuth(httpx.Auth):
    """Adds `Authorization: DPoP …` and a fresh proof to requests to `origin`, and to nothing else.

    `token` is asked for each request, so that it can be renewed; it may be awaitable for `httpx.AsyncClient`.
    A redirect to another scheme, host or port goes without the token. httpx carries the first request's proof along;
    it names the first URL, was spent there, and proves nothing anywhere else.
    """

    def __init__(self, key: AgentKey, token: Callable[[], str | Awaitable[str]], origin: str) -> None:
        self._key = key
        self._token = token
        self._origin = safe_origin(origin)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See `httpx.Auth`."""
        token = self._token() if self._meant(request) else ""
        if not isinstance(token, str):
            raise TypeError("an awaitable token needs httpx.AsyncClient")
        yield self._bound(request, token)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """See `httpx.Auth`."""
        token = self._token() if self._meant(request) else ""
        yield self._bound(request, await token if isawaitable(token) else str(token))

    def _meant(self, request: httpx.Request) -> bool:
        return _origin(request.url) == self._origin

    def _bound(self, request: httpx.Request, token: str) -> httpx.Request:
        if token:
            request.headers["Authorization"] = f"DPoP {token}"
            request.headers["DPoP"] = self._key.proof(request.method, str(request.url), token)
        else:
            request.headers.pop("Authorization", None)
            request.headers.pop("DPoP", None)
        return request


def safe_origin(url: str) -> Origin:
    """(scheme, host, port) of an address that secrets may be sent to: https, or http on this machine's loopback."""
    try:
        origin = _origin(httpx.URL(url))
    except httpx.InvalidURL as bad:
        raise RemitError(f"{url!r} is not an address.", next_step="Give an https address.") from bad
    if origin[1] and (origin[0] == "https" or (origin[0] == "http" and _is_loopback(origin[1]))):
        return origin
    raise RemitError(f"{url!r} would carry tokens in the clear.", next_step="Use https, or http on loopback only.")


def _origin(url: httpx.URL) -> Origin:
    return (url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
