"""HTTP to one MCP server and no other: an exact origin, answers of bounded size, no redirect, no proxy, no cookies."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx2

from remit.formats.rfc9728 import challenge

from .lean_http import Answer, BadAnswer, LeanHttp
from .mcp.processes import MESSAGE_LIMIT

_SCOPE = re.compile(r"[A-Za-z0-9._:/-]{1,128}\Z")
_OURS = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding", "cookie", "te", "upgrade"}


class Bounded(httpx2.AsyncBaseTransport):
    """Whatever asks, a request to another origin is not sent: a credential in its headers was meant for this one.

    `patience` is how many seconds an answer, or the next piece of one, may take.
    """

    def __init__(self, url: str, patience: float) -> None:
        self._origin = _origin(httpx2.URL(url))
        self._http = LeanHttp(url, {})
        self._patience = patience

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`."""
        if _origin(request.url) != self._origin or request.url.userinfo:
            raise httpx2.RequestError("the server sent us to another origin", request=request)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _OURS]
        content = await request.aread()
        target = request.url.raw_path.decode("ascii")
        try:
            answer = await self._http.send(request.method, target, headers, content, self._patience)
        except (BadAnswer, OSError, TimeoutError) as failure:
            raise httpx2.ReadError(str(failure) or type(failure).__name__, request=request) from failure
        found = httpx2.Headers([(name, value) for name, value in answer.headers if name.lower() != b"set-cookie"])
        encoded = found.get("content-encoding", "identity") != "identity"
        if 300 <= answer.status < 400 or encoded:
            answer.close()
            said = "the server compresses" if encoded else "the server sent us elsewhere (a redirect)"
            raise httpx2.RequestError(said, request=request)
        if answer.status in (401, 403) and (wants := _wants(answer.status, found)):
            answer.close()
            return httpx2.Response(answer.status, json=_said(wants), request=request)
        events = found.get("content-type", "").lower().startswith("text/event-stream")
        body = _Body(answer, self._patience, bounded=not events)  # the SDK bounds each event of a stream
        return httpx2.Response(answer.status, headers=found, stream=body, request=request)

    async def aclose(self) -> None:
        """See `httpx2.AsyncBaseTransport`."""
        await self._http.close()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answer: Answer, patience: float, *, bounded: bool) -> None:
        self._answer, self._patience, self._bounded = answer, patience, bounded

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._answer.chunks(self._patience):
                size += len(chunk)
                if self._bounded and size > MESSAGE_LIMIT:
                    raise httpx2.ReadError(f"the server answered more than {MESSAGE_LIMIT} bytes")
                yield chunk
        except (BadAnswer, OSError, TimeoutError) as failure:
            raise httpx2.ReadError(str(failure) or type(failure).__name__) from failure

    async def aclose(self) -> None:
        self._answer.close()


def _wants(status: int, headers: httpx2.Headers) -> str:
    """What a Bearer challenge asks for (RFC 6750 section 3.1), in our words: nobody widens anything by itself."""
    said = challenge(headers.get("www-authenticate", ""))
    if not said:
        return ""
    if status == 401:
        return "it does not take the credential that it was given; the next session asks for a fresh one"
    scopes = [word for word in said.get("scope", "").split() if _SCOPE.match(word)][:20]
    if said.get("error") != "insufficient_scope" or not scopes:
        return ""
    return f"it wants the scope {' '.join(scopes)}, which this purpose's credential does not name"


def _said(wants: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": wants}}


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return (url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))
