"""`remit gateway`: one address for all of an agent's tools, in a process and with a key that agents do not have."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import Response

from remit.domain.errors import Refusal
from remit.formats.request_state import key_of
from remit.formats.rfc9449 import ALGORITHMS
from remit.supervisor import supervised
from remit_client import RemitError

from ..asks import Desk, EnforcerAsks
from ..callers import Caller, Callers
from ..listen import SERVING, listener, needs_tls
from ..secrets import enforcer_key
from .beside import Beside
from .front import front
from .held import Records
from .pool import Pool
from .seat import Seat

PATH = "/mcp"
METADATA = "/.well-known/oauth-protected-resource"
BODY_LIMIT = 1024 * 1024
SESSION_IDLE = 900.0
SESSIONS = 2000
SEATS = 4096
_NOW: ContextVar[Caller | None] = ContextVar("caller", default=None)


class Gateway:
    """The ASGI application."""

    def __init__(self, desk: Desk, resource: str, key: str, *, only: tuple[str, ...], wait_budget_s: float) -> None:
        self.pool = Pool(desk, only)
        self._desk = desk
        self._resource = resource
        self._only = only
        self.callers = Callers(desk, resource)
        self._records = Records(key_of(key))
        self._seats: dict[str, Seat] = {}
        self._spoken: tuple[str, ...] = ()
        origin = urlsplit(resource)
        self._metadata = f"{origin.scheme}://{origin.netloc}{METADATA}{origin.path}"
        server = self._front = front(Beside(self._records, wait_budget_s), self._seat_of, self._schema_of)
        server.seat = self._seat_now
        self.sessions = StreamableHTTPSessionManager(
            server,
            security_settings=TransportSecuritySettings(
                allowed_hosts=[origin.netloc], allowed_origins=[f"{origin.scheme}://{origin.netloc}"]
            ),
            session_idle_timeout=SESSION_IDLE,
            max_request_body_size=BODY_LIMIT,
            max_sessions=SESSIONS,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == urlsplit(self._resource).path:
            await self._mcp(scope, receive, send)
        elif scope["method"] == "GET" and path in (METADATA, METADATA + urlsplit(self._resource).path):
            await _json(await self._described())(scope, receive, send)
        elif scope["method"] == "GET" and path == "/healthz":
            await _json({"status": "ok"})(scope, receive, send)
        else:
            await _json({"error": "not_found"}, 404)(scope, receive, send)

    async def _mcp(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if sum(name in (b"authorization", b"dpop") for name, _ in scope["headers"]) > 2:
            headers.pop("authorization", None)  # two of one kind: neither is meant
        try:
            self._spoken = self._only or tuple(sorted(await self.pool.servers()))
            caller = await self.callers.caller(
                scope["method"], headers, time.time_ns() // 1_000_000, bearer=self._bearer
            )
        except RemitError as error:
            await _json({"error": "temporarily_unavailable", "error_description": str(error)}, 503)(
                scope, receive, send
            )
            return
        except Refusal as refusal:
            self._desk.seen.saw(self._resource, callers=[(scope.get("client") or ("",))[0]])
            await self._challenge(refusal)(scope, receive, send)
            return
        scope["remit.caller"] = caller
        _NOW.set(caller)
        # The SDK keeps sessions to whoever opened them, by this.
        bound = AccessToken(token="", client_id=caller.agent, scopes=[], subject=caller.who)
        scope["user"] = AuthenticatedUser(bound)
        if "mcp-session-id" not in headers and headers.get("mcp-method", "") in ("", "server/discover"):
            await self._front.primed()
        await self.sessions.handle_request(scope, receive, send)

    def _challenge(self, refusal: Refusal) -> Response:
        """RFC 6750 section 3 and RFC 9449 section 7.1, with where to learn the rest (RFC 9728 section 5.1)."""
        error = "invalid_dpop_proof" if "proof" in refusal.message.lower() else "invalid_token"
        said = f'DPoP algs="{" ".join(ALGORITHMS[:2])}", resource_metadata="{self._metadata}"'
        flaw = f', error="{error}"' if refusal.code != "RMT-2001" else ""
        said += flaw
        if self._bearer:
            said += f', Bearer resource_metadata="{self._metadata}"{flaw}'
        body = {"error": error, "error_description": refusal.message, "next_step": refusal.next_step}
        return _json(body, 401, {"WWW-Authenticate": said})

    @property
    def _bearer(self) -> bool:
        """Whether the catalogue lets some person's client come here without a key."""
        return self._resource in self.pool.bearer

    async def _described(self) -> dict[str, Any]:
        """RFC 9728 section 2."""
        with suppress(RemitError):
            await self.pool.servers()
        return {
            "resource": self._resource,
            "authorization_servers": [self._desk.url],
            "bearer_methods_supported": ["header"],
            "dpop_bound_access_tokens_required": not self._bearer,
            "dpop_signing_alg_values_supported": list(ALGORITHMS[:2]),
            "resource_name": "Remit MCP gateway",
        }

    def _seat_of(self, ctx: Any) -> Seat:
        return self._seat(ctx.request.scope["remit.caller"])

    def _seat_now(self) -> Seat | None:
        caller = _NOW.get()
        return self._seat(caller) if caller else None

    def _seat(self, caller: Caller) -> Seat:
        found = self._seats.get(caller.who)
        if found is None or found.servers != self._spoken:
            if len(self._seats) >= SEATS:
                self._seats.clear()
            asks = EnforcerAsks(self._desk, caller.task)
            found = self._seats[caller.who] = Seat(caller.who, asks, self._spoken, self.pool.of(caller.task))
        return found

    def _schema_of(self, exposed: str) -> Any:
        """As its server last said it to this very task; what was never listed has no headers to check."""
        caller = _NOW.get()
        seat = self._seats.get(caller.who) if caller else None
        if caller is None or seat is None:
            return None
        server, own = seat.named(exposed)
        tool = self.pool.last(caller.task, server, own)
        return tool.get("inputSchema") if tool else None

    async def close(self) -> None:
        """Stop what runs, and every server."""
        await self._records.close()
        await self.pool.close()


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    found = {"Cache-Control": "no-store", **(headers or {})}
    return Response(json.dumps(body), status, found, media_type="application/json")


async def serve(
    url: str,
    announce: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    port: int = 7460,
    public_url: str = "",
    servers: tuple[str, ...] = (),
    wait_budget_s: float = 20,
    tls_cert: str = "",
    tls_key: str = "",
    edge: str = "",
) -> None:
    """Serve until a signal comes; `announce` is told the address that tokens must be for, once it answers.

    Raises `RemitError` when Remit does not know our key, or a server is named that the catalogue does not declare.
    """
    quiet_sdk()
    key = enforcer_key()
    needs_tls(host, "the gateway", has=bool(tls_cert and tls_key))
    bound = listener(host, port)
    bare = f"[{host}]" if ":" in host else host
    base = public_url.rstrip("/") or f"http{'s' if tls_cert else ''}://{bare}:{bound.getsockname()[1]}"
    desk = Desk(url, key, edge)
    try:
        gateway = Gateway(desk, base + PATH, key, only=servers, wait_budget_s=wait_budget_s)
        declared = await gateway.pool.servers()
        for name in servers:
            if name not in declared:
                raise RemitError(
                    f"The catalogue declares no server {name!r}.", next_step=f"[servers.{name}] in remit.toml"
                )
        config = uvicorn.Config(
            gateway,
            log_level="warning",
            limit_concurrency=2048,
            timeout_graceful_shutdown=3,
            **SERVING,
            ssl_certfile=tls_cert or None,
            ssl_keyfile=tls_key or None,
        )
        config.load()
        server = uvicorn.Server(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.handle_exit, number, None)
        server.capture_signals = _no_signals  # type: ignore[method-assign]
        await gateway.callers.ready()
        bound.listen(2048)
        async with gateway.sessions.run():
            announce(base + PATH)
            sys.stdout.flush()
            try:
                async with supervised(base + PATH):
                    await server.serve(sockets=[bound])
            finally:
                await gateway.close()
    finally:
        bound.close()
        await desk.close()


def quiet_sdk() -> None:
    """The SDK's log quotes what servers say, and that may be a secret."""
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    logging.getLogger("mcp").addHandler(logging.NullHandler())
    logging.getLogger("mcp").propagate = False


def _no_signals() -> Any:
    from contextlib import nullcontext

    return nullcontext()
