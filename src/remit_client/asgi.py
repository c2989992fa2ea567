"""ASGI middleware for a tool server: only agents that act in a task get in, with a token that Remit issued for it.

    app = RemitASGI(app, issuer="https://remit.example", audience="https://billing.example",
                    tools={"GET /invoices": "read", "POST /payments/{id}": "pay"})

Tokens are verified here, with Remit's published keys: no call to Remit per request, so a revocation is seen when the
token expires, minutes later; what must be known at once belongs behind the gateway. A request that is no tool, or whose
token lacks the tool's scope word, is refused. `scope["remit"]` is the `Caller`.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import quote

import anyio
import httpx

from .dpop import safe_origin
from .verify import Caller, Key, Unverified, caller, key_id, transaction

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

KEYS_LARGEST = 64 * 1024
KEYS_FRESH, KEYS_STALE, KEYS_AGAIN = 300.0, 3600.0, 10.0  # seconds
PATIENCE = 2.0
PROOFS = 100_000
_CHALLENGE = b'DPoP error="%b", algs="ES256 EdDSA"'


class RemitASGI:
    """`audience` is this server's own address, and its `origin` unless that differs behind a proxy."""

    def __init__(
        self, app: App, *, issuer: str, audience: str, tools: Mapping[str, str], origin: str = "", ca: Any = True
    ) -> None:
        safe_origin(issuer)
        self._app, self._issuer, self._audience = app, issuer.rstrip("/"), audience
        self._origin = (origin or audience).rstrip("/")
        self._tools = _rows(tools)
        self._keys = _Keys(f"{self._issuer}/.well-known/jwks.json", ca)
        self._spent: set[tuple[str, str]] = set()
        self._until: list[tuple[float, tuple[str, str]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI 3. Sockets that stay open outlive what let them in, so they are not let in."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            found = await self._caller(scope)
        except Unverified:
            await _refuse(send, 401, b"invalid_token", "A token from Remit for this server is needed, and its proof.")
            return
        word = _word(self._tools, scope["method"], scope["path"])
        if word is None or word not in found.scope:
            await _refuse(send, 403, b"insufficient_scope", "This task's token is not for this.")
            return
        await self._app({**scope, "remit": found}, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        given = [(name.lower(), value) for name, value in scope["headers"]]
        tokens = [value for name, value in given if name == b"authorization"]
        proofs = [value for name, value in given if name == b"dpop"]
        if len(tokens) != 1 or len(proofs) != 1 or tokens[0][:5].lower() != b"dpop ":
            raise Unverified("not exactly one of each header")
        token, proof = tokens[0][5:].decode("latin-1").strip(), proofs[0].decode("latin-1")
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        url = self._origin + path.partition(b"?")[0].decode("latin-1")
        now = time.time()
        keys = await self._keys.with_one_named(key_id(token))
        found = caller(
            token, proof, keys=keys, issuer=self._issuer, audience=self._audience,
            method=scope["method"], url=url, now=now,
        )  # fmt: skip
        self._spend(found, now)
        return found

    def _spend(self, found: Caller, now: float) -> None:
        """Once; with no room left to remember it, not at all."""
        while self._until and self._until[0][0] < now:
            self._spent.discard(heapq.heappop(self._until)[1])
        if found.proof in self._spent or len(self._spent) >= PROOFS:
            raise Unverified("a proof that was used before")
        self._spent.add(found.proof)
        heapq.heappush(self._until, (found.spent_until, found.proof))


class TransactionASGI:
    """For a server further inside a call graph: only calls that are part of a task get in, by their `Txn-Token` header.

    `scope["remit_txn"]` is the `Transaction`. It tells what the call is for, and not who sends it: this stands behind
    whatever authenticates workloads to each other, such as mutual TLS, and never in its place.
    """

    def __init__(self, app: App, *, issuer: str, domain: str, tools: Mapping[str, str], ca: Any = True) -> None:
        safe_origin(issuer)
        self._app, self._issuer, self._domain = app, issuer.rstrip("/"), domain
        self._tools = _rows(tools)
        self._keys = _Keys(f"{self._issuer}/.well-known/jwks.json", ca)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI 3."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        given = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"txn-token"]
        try:
            if len(given) != 1:
                raise Unverified("not exactly one Txn-Token")
            keys = await self._keys.with_one_named(key_id(given[0]))
            found = transaction(given[0], keys=keys, issuer=self._issuer, domain=self._domain, now=time.time())
        except Unverified:
            await _refuse(send, 401, b"invalid_token", "Exactly one valid Txn-Token of this trust domain is needed.")
            return
        word = _word(self._tools, scope["method"], scope["path"])
        if word is None or word not in found.scope:
            await _refuse(send, 403, b"insufficient_scope", "This transaction is not for this.")
            return
        await self._app({**scope, "remit_txn": found}, receive, send)


class _Keys:
    """Remit's published keys: fetched when needed, bounded, kept for a while when it cannot be reached."""

    def __init__(self, url: str, ca: Any) -> None:
        self._url, self._ca, self._lock = url, ca, anyio.Lock()
        self._keys: Mapping[str, Key] = {}
        self._at = self._tried = float("-inf")

    async def with_one_named(self, name: str) -> Mapping[str, Key]:
        async with self._lock:
            now = time.monotonic()
            old = now - self._at > KEYS_FRESH or name not in self._keys
            if old and now - self._tried > (KEYS_AGAIN if self._keys else 1.0):
                self._tried = now
                try:
                    with anyio.fail_after(PATIENCE):
                        self._keys, self._at = await self._fetch(), now
                except (httpx.HTTPError, ValueError, TimeoutError, RecursionError, Unverified, KeyError, TypeError):
                    pass
            if now - self._at > KEYS_STALE:
                raise Unverified("Remit's keys are not to be had")
            return self._keys

    async def _fetch(self) -> Mapping[str, Key]:
        got = bytearray()
        async with (
            httpx.AsyncClient(trust_env=False, verify=self._ca, timeout=PATIENCE) as http,
            http.stream("GET", self._url, follow_redirects=False) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError(answer.status_code)
            async for chunk in answer.aiter_bytes():
                got += chunk
                if len(got) > KEYS_LARGEST:
                    raise ValueError("too large")
        return {str(one["kid"]): Key(one) for one in json.loads(got)["keys"]}


def _rows(tools: Mapping[str, str]) -> list[tuple[str, str, str]]:
    return [(row.partition(" ")[0], row.partition(" ")[2], word) for row, word in tools.items()]


def _word(tools: Sequence[tuple[str, str, str]], method: str, path: str) -> str | None:
    for wanted, template, word in tools:
        theirs, ours = path.split("/"), template.split("/")
        fits = len(theirs) == len(ours) and all(
            a == b or (b[:1] == "{" and a not in ("", ".", "..")) for a, b in zip(theirs, ours, strict=True)
        )
        if wanted == method and fits:
            return word
    return None


async def _refuse(send: Send, status: int, error: bytes, detail: str) -> None:
    body = json.dumps({"title": error.decode(), "status": status, "detail": detail}).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"www-authenticate", _CHALLENGE % error)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
