"""The ASGI application: read the request whole and bounded, know the caller, call the handler, render."""

from __future__ import annotations

import asyncio
import time

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

from remit.domain.caller import CallerKind
from remit.domain.errors import (
    Absent,
    BadField,
    BadProof,
    NoCredentials,
    Refusal,
    TooLarge,
    Unauthenticated,
    WrongCaller,
)

from .authenticate import NOBODY, authenticate
from .house import Asked, House
from .oauth import oauth_error
from .problems import json_response, problem
from .routes import ROUTES, Route

BODY_TIMEOUT = 10.0
_log = structlog.get_logger("remit.web")


def create_app(house: House) -> ASGIApp:
    """One Starlette route for each row of the table."""
    routes = [StarletteRoute(row.path, _endpoint(house, row), methods=[row.method]) for row in ROUTES]
    return Starlette(routes=routes, exception_handlers={404: _absent, 405: _absent})


def _endpoint(house: House, route: Route):  # type: ignore[no-untyped-def]  # Starlette's own endpoint type is Any
    requests = house.metrics.requests
    latency = house.metrics.latency.labels(route.path)
    oauth = route.path.startswith("/oauth/")

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        try:
            response = await _answer(house, route, request)
        except Refusal as refusal:
            if isinstance(refusal, Unauthenticated):
                house.metrics.unauthenticated.labels(refusal.code).inc()
            if refusal.inside:
                _log.info("refused", route=route.path, code=refusal.code, inside=refusal.inside)
            response = oauth_error(refusal) if oauth else problem(refusal)
        except ClientDisconnect:
            response = Response(status_code=400)
        except Exception as bug:
            _log.error("failed", route=route.path, error=type(bug).__name__, exc_info=bug)
            response = json_response(_BUG, 500, media="application/problem+json")
        latency.observe(time.perf_counter() - started)
        requests.labels(route.path, str(response.status_code)).inc()
        return response

    return endpoint


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
    )
    caller = NOBODY
    if CallerKind.ANYONE not in route.callers:
        caller = await authenticate(house, asked, now)
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


async def _absent(request: Request, _: Exception) -> Response:
    return problem(Absent())
