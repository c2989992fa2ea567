"""The ASGI application: read the request whole and bounded, know the caller, call the handler, render."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from remit.domain.caller import Caller, CallerKind
from remit.domain.errors import (
    Absent,
    BadAttestation,
    BadField,
    BadProof,
    NoCredentials,
    Refusal,
    StoreUnavailable,
    TooLarge,
    Unauthenticated,
    WrongCaller,
)

from . import client_attestation, console, scim, sessions
from .authenticate import NOBODY, authenticate
from .house import Asked, House
from .oauth import oauth_error
from .problems import json_response, problem
from .route import Route
from .routes import ROUTES

BODY_TIMEOUT = 10.0
_log = structlog.get_logger("remit.web")


def create_app(house: House, routes: Sequence[Route] = ROUTES) -> ASGIApp:
    """Starlette's router over the table, without its middleware: every answer, errors too, is made here."""
    paths: dict[str, dict[str, _Endpoint]] = {}
    for row in routes:
        paths.setdefault(row.path, {})[row.method] = _Endpoint(house, row)
    absent = _Absent(house)
    rows = [StarletteRoute(path, _Methods(methods, absent)) for path, methods in paths.items()]
    router = Router(rows, default=absent)
    router.redirect_slashes = False
    return router


class _Methods:
    """One path: the endpoint for each of its methods. What a path does not answer to is absent there."""

    def __init__(self, endpoints: Mapping[str, _Endpoint], absent: ASGIApp) -> None:
        self._absent = absent
        reading = {"HEAD": endpoints["GET"]} if "GET" in endpoints else {}
        self._endpoints = {**endpoints, **reading}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint: ASGIApp | None = self._endpoints.get(scope["method"])
        if endpoint is None and scope["path"].startswith(scim.PREFIX):  # where the standard wants it said
            endpoint = scim.not_allowed(self._endpoints)
        await (endpoint or self._absent)(scope, receive, send)


class _Endpoint:
    """One row of the table, as ASGI: refusals become problems, bugs become a 500 that tells nothing."""

    def __init__(self, house: House, route: Route) -> None:
        self._house = house
        self._route = route
        self._latency = house.metrics.latency.labels(route.path)
        self._answer: Callable[[House, Route, Request], Awaitable[Response]] = _answer
        if house.tracing is not None:
            self._route = replace(route, handler=house.tracing.verb(route.handler.__name__, route.handler))
            self._answer = house.tracing.requests(route.method, route.path, _answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        response = await self._response(Request(scope, receive))
        self._latency.observe(time.perf_counter() - started)
        self._house.metrics.requests.labels(self._route.path, str(response.status_code)).inc()
        if self._house.leaving:  # the client's next request goes over a new connection, to somebody who stays
            response.headers["connection"] = "close"
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        try:
            return await self._answer(self._house, self._route, request)
        except Refusal as refusal:
            if isinstance(refusal, Unauthenticated):
                self._house.metrics.unauthenticated.labels(refusal.code).inc()
            if isinstance(refusal, StoreUnavailable):
                self._house.metrics.unavailable.inc()
            if refusal.inside:
                _log.info("refused", route=self._route.path, code=refusal.code, inside=refusal.inside)
            return await self._render(request, refusal)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as bug:
            _log.error("failed", route=self._route.path, error=type(bug).__name__, exc_info=bug)
            return json_response(_BUG, 500, media="application/problem+json")

    async def _render(self, request: Request, refusal: Refusal) -> Response:
        if self._route.browser and console.wants_page(request.url.path, request.headers):
            if isinstance(refusal, NoCredentials) and (elsewhere := console.by_name(self._house, request)):
                return console.onward(elsewhere)
            return await console.refused(self._house, refusal, console.back_to(request))
        if self._route.path.startswith(scim.PREFIX):
            return scim.refused(refusal)
        return (oauth_error if self._route.path.startswith("/oauth/") else problem)(refusal)


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
        house.address + request.scope["path"],
        request.path_params,
        _query(request),
        request.headers,
        body,
        route.largest,
        tuple(request.scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())),
    )
    caller = NOBODY
    if route.browser and "authorization" not in request.headers:
        caller, asked = await _from_browser(house, route, asked, now)
    elif CallerKind.ANYONE not in route.callers:
        caller = await authenticate(house, asked, now, hook=route.hook)
        if caller is NOBODY:
            raise NoCredentials("This needs credentials.", next_step="Agents: DPoP. People: a bearer key (REMIT_KEY).")
    if CallerKind.ANYONE not in route.callers and caller.kind not in route.callers:
        wanted = ", ".join(sorted(kind.value for kind in route.callers))
        raise WrongCaller(f"This is for: {wanted}. You are: {caller.kind.value}.")
    try:
        return await route.handler(house, house.call(caller, asked, now), asked)
    except Unauthenticated as refusal:
        house.shadows.refused(route.path, asked.body, refusal)
        raise


async def _from_browser(house: House, route: Route, asked: Asked, now: int) -> tuple[Caller, Asked]:
    """Who a cookie speaks for; what it changes, a page of ours must have asked for."""
    changes, open_to_all = route.method != "GET", CallerKind.ANYONE in route.callers
    found = await sessions.browser(house, asked, now)
    if found is None and not open_to_all:
        raise sessions.must_be_signed_in()
    if changes:
        sessions.check_same_origin(house, asked)
    if found is None or open_to_all:
        return NOBODY, replace(asked, browser=found)
    if changes:
        sessions.check_form_token(asked, found.form_token)
    return await sessions.caller(house, found, route.callers), replace(asked, browser=found)


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


class _Absent:
    """Whatever is not in the table; under the console it is a page."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        page = scope["path"].startswith("/console") and console.wants_page(scope["path"], request.headers)
        plain = scim.refused if scope["path"].startswith(scim.PREFIX) else problem
        answer = await console.refused(self._house, Absent(), "") if page else plain(Absent())
        await answer(scope, receive, send)
