"""The ASGI application: read the request whole and bounded, know the caller, call the handler, render."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from remit.domain.caller import CallerKind
from remit.domain.errors import (
    Absent,
    BadAttestation,
    BadField,
    BadProof,
    NoCredentials,
    Refusal,
    TooLarge,
    Unauthenticated,
    WrongCaller,
)

from . import client_attestation
from .authenticate import NOBODY, authenticate
from .house import Asked, House
from .oauth import oauth_error
from .problems import json_response, problem
from .routes import ROUTES, Route

BODY_TIMEOUT = 10.0
_log = structlog.get_logger("remit.web")


def create_app(house: House) -> ASGIApp:
    """Starlette's router over the table, without its middleware: every answer, errors too, is made here."""
    paths: dict[str, dict[str, _Endpoint]] = {}
    for row in ROUTES:
        paths.setdefault(row.path, {})[row.method] = _Endpoint(house, row)
    router = Router([StarletteRoute(path, _Methods(methods)) for path, methods in paths.items()], default=_absent)
    router.redirect_slashes = False
    return router


class _Methods:
    """One path: the endpoint for each of its methods. What a path does not answer to is absent there."""

    def __init__(self, endpoints: Mapping[str, _Endpoint]) -> None:
        reading = {"HEAD": endpoints["GET"]} if "GET" in endpoints else {}
        self._endpoints = {**endpoints, **reading}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["method"])
        await (endpoint or _absent)(scope, receive, send)


class _Endpoint:
    """One row of the table, as ASGI: refusals become problems, bugs become a 500 that tells nothing."""

    def __init__(self, house: House, route: Route) -> None:
        self._house = house
        self._route = route
        self._latency = house.metrics.latency.labels(route.path)
        self._render = oauth_error if route.path.startswith("/oauth/") else problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        response = await self._response(Request(scope, receive))
        self._latency.observe(time.perf_counter() - started)
        self._house.metrics.requests.labels(self._route.path, str(response.status_code)).inc()
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        try:
            return await _answer(self._house, self._route, request)
        except Refusal as refusal:
            if isinstance(refusal, Unauthenticated):
                self._house.metrics.unauthenticated.labels(refusal.code).inc()
            if refusal.inside:
                _log.info("refused", route=self._route.path, code=refusal.code, inside=refusal.inside)
            return self._render(refusal)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as bug:
            _log.error("failed", route=self._route.path, error=type(bug).__name__, exc_info=bug)
            return json_response(_BUG, 500, media="application/problem+json")


_BUG = {
    "type": "/errors/RMT-1000",
    "title": "Something broke on our side",
    "status": 500,
    "detail": "Nothing was granted. The operator's log says what happened.",
    "code": "RMT-1000",
}


async def _answer(house: House, route: Route, request: Request) -> Response:
    for name in ("authorization", "dpop"):
        if len(request.headers.getlist(name)) > 1:
            raise BadProof(f"More than one {name} header.", next_step="Send exactly one (RFC 9449 section 4.3).")
    for name in (client_attestation.ATTESTATION, client_attestation.POP):
        if len(request.headers.getlist(name)) > 1:
            raise BadAttestation(client_attestation.REFUSED, inside=f"more than one {name} header")
    now = house.clock()
    body = await _read(request, route.largest) if route.takes_body else b""
    asked = Asked(
        route.method,
        house.url + request.scope["path"],
        request.path_params,
        _query(request),
        request.headers,
        body,
        route.largest,
        tuple(request.scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())),
    )
    caller = NOBODY
    if CallerKind.ANYONE not in route.callers:
        caller = await authenticate(house, asked, now, hook=route.hook)
        if caller is NOBODY:
            raise NoCredentials("This needs credentials.", next_step="Agents: DPoP. People: a bearer key (REMIT_KEY).")
        if caller.kind not in route.callers:
            wanted = ", ".join(sorted(kind.value for kind in route.callers))
            raise WrongCaller(f"This is for: {wanted}. You are: {caller.kind.value}.")
    return await route.handler(house, house.call(caller, asked, now), asked)


def _query(request: Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in found or "\x00" in value or len(value) > 2048:
            raise BadField(name[:100], "appears twice, has a NUL, or is too long")
        found[name] = value
    return found


async def _read(request: Request, limit: int) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise TooLarge(f"The body is over {limit} bytes.")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise TooLarge(f"The body is over {limit} bytes.")
    except TimeoutError as slow:
        raise BadField("body", f"did not arrive within {BODY_TIMEOUT:.0f} s") from slow
    return bytes(body)


async def _absent(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await problem(Absent())(scope, receive, send)
