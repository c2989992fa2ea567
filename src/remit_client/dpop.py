"""httpx authentication with a key-bound token, for exactly one origin."""

from __future__ import annotations

from collections.abc import Callable, Generator

import httpx

from .keys import AgentKey


class DPoPAuth(httpx.Auth):
    """Adds `Authorization: DPoP …` and a fresh proof to requests to `origin`, and to nothing else.

    A redirect to another scheme, host or port goes without the token. httpx carries the first request's proof along;
    it names the first URL, was spent there, and proves nothing anywhere else.
    """

    def __init__(self, key: AgentKey, token: Callable[[], str], origin: str) -> None:
        self._key = key
        self._token = token
        self._origin = _origin(httpx.URL(origin))

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See `httpx.Auth`."""
        if _origin(request.url) == self._origin:
            token = self._token()
            request.headers["Authorization"] = f"DPoP {token}"
            request.headers["DPoP"] = self._key.proof(request.method, str(request.url), token)
        else:
            request.headers.pop("Authorization", None)
            request.headers.pop("DPoP", None)
        yield request


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return (url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))
