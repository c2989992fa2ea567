"""HTTP out: every request is a call of a reviewed tool, decided, sent anew with the task's credential, and observed.

1. Who asks, by the door it came through. 2. Which tool this is: by exact origin, method and path; none is a denial, and
is recorded. 3. Remit decides about exactly what will be sent. 4. The credential is asked for. 5. The request is written
from the decided arguments and sent to that origin; a redirect is an answer like another. 6. What came back is observed
before it is given; unless that is recorded, it is not given.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import h11
import httpcore

from remit import telemetry
from remit.domain.errors import AddressRefused, BadField, Refusal, TooLarge, Unauthenticated
from remit.domain.http_route import HttpRoute
from remit.formats.http_request import Meant, Outgoing, Received, Routes, outgoing
from remit_client import Denied, Held, RemitError
from remit_client.wire import member

from ..asks import OBSERVED_LIMIT, Desk, EnforcerAsks
from . import answers as answers
from .answers import Answer
from .doors import Door, Visit, origin_of
from .purse import Credential, Purse
from .upstream import Upstreams

BODY_LIMIT = 60 * 1024  # Remit reads 64 KiB of a call
FILE_LIMIT = 256 * 1024 * 1024
FILE_TIME = 600.0
BODY_TIME = 30.0
FRESH_FOR = 1.0
TASKS = 4096
_FILES = (
    *("image/", "audio/", "video/", "font/", "application/octet-stream"),
    *("application/zip", "application/gzip", "application/pdf", "application/x-tar"),
)
_FORWARDED = ("accept", "accept-language", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since")
_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpcore.UnsupportedProtocol)
_BROKEN = (*_FAILURES, h11.ProtocolError, OSError, TimeoutError, ValueError)
_log = logging.getLogger("remit.egress")


class Egress:
    """The ASGI application. `patience` is how many seconds an origin has; `wait` how many a person has at once."""

    def __init__(self, desk: Desk, door: Door, upstreams: Upstreams, *, wait: float, patience: float) -> None:
        self.door = door
        self._desk = desk
        self._upstreams = upstreams
        self._purse = Purse(desk)
        self._wait = wait
        self._patience = patience
        self._asks: dict[str, EnforcerAsks] = {}
        self._routes = Routes(())
        self._routes_at = -FRESH_FOR

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any, *, tunnel: str = "") -> None:
        if scope["type"] != "http":
            return
        async with AsyncExitStack() as stack:
            try:
                if scope["method"] == "GET" and scope["raw_path"] == b"/healthz" and not tunnel:
                    answer = Answer(200, [("content-type", "application/json")], b'{"status": "ok"}')
                else:
                    visit = await self.door.enter(scope, tunnel)
                    answer = await self._answer(visit, receive, stack)
            except (Refusal, RemitError) as refused:
                answer = answers.of_error(refused)
                if isinstance(refused, Unauthenticated):
                    self._desk.seen.saw("egress", callers=[(scope.get("client") or ("",))[0]])
            except Exception as bug:  # whatever it is, its text may hold what an agent must not see
                _log.error("internal error: %s", type(bug).__name__)
                answer = answers.of_error(bug)
            await answer.send(scope["method"], send)

    async def routes(self) -> Routes:
        """As the catalogue in force said a second ago; a call of one that has changed since shows the wrong pin."""
        if time.monotonic() - self._routes_at > FRESH_FOR:
            asked_at = time.monotonic()
            items = member(await self._desk.ask("GET", "/v1/http-tools"), "items", list)
            self._routes = Routes([(i["name"], _route(i["http"]), i["pin"], i["schema"]) for i in items])
            self._routes_at = asked_at
        return self._routes

    async def opens(self, visit: Visit) -> str:
        """The https origin that this CONNECT is for; raises `Denied`, recorded, when the catalogue has none."""
        origin = origin_of(visit, (await self.routes()).origins)
        if not origin:
            raise await self._nobodys(self._asks_of(visit.task), visit, origin)
        return origin

    def _asks_of(self, task: str) -> EnforcerAsks:
        found = self._asks.pop(task, None) or EnforcerAsks(self._desk, task)
        self._asks[task] = found  # the newest last
        if len(self._asks) > TASKS:
            del self._asks[next(iter(self._asks))]
        return found

    async def _answer(self, visit: Visit, receive: Any, stack: AsyncExitStack) -> Answer:
        asks = self._asks_of(visit.task)
        routes = await self.routes()
        origin = origin_of(visit, routes.origins)
        if visit.method == "CONNECT" or not origin:
            raise await self._nobodys(asks, visit, origin)
        media = next((value for name, value in visit.headers if name == "content-type"), "")
        body = await _body(receive)
        received = Received(visit.method, origin, visit.path, visit.query, media, body)
        try:
            meant = routes.meant(received)
            if meant is None:
                raise await self._nobodys(asks, visit, origin)
            arguments = meant.arguments(received)
            request = outgoing(meant, arguments)
        except BadField as bad:
            await self._nobodys(asks, visit, origin)
            raise Denied(bad.message, reasons=("bad_arguments",)) from bad
        with telemetry.asked(dict(visit.headers), meant.tool):
            await self._decide(asks, visit, meant, arguments)
        credential = await self._purse.credential(visit.task, meant.route)
        return await self._exchange(asks, visit, meant, request, credential, stack)

    async def _nobodys(self, asks: EnforcerAsks, visit: Visit, origin: str) -> Exception:
        """A denial that Remit has recorded: there is no tool of such a name, nor can there be."""
        asked = visit.authority.rpartition("@")[2]
        said = f"{visit.method} {origin or f'{visit.scheme}://{asked}'.removeprefix(':')}"[:120]
        try:
            await asks.decide(said, {}, "")
        except Denied as denied:
            if denied.reasons != ("tool_unknown",):
                return denied
        step = "Use the requests of the tools that this task may call, or ask an operator to review this one."
        detail = f"No reviewed tool sends {said}{' to this path' if origin else ''}."
        return Denied(detail, reasons=("tool_unknown",), next_step=step)

    async def _decide(self, asks: EnforcerAsks, visit: Visit, meant: Meant, arguments: Mapping[str, Any]) -> None:
        deadline = time.monotonic() + self._wait
        while True:
            try:
                await asks.decide(meant.tool, arguments, meant.pin)
                return
            except Held as held:
                left = deadline - time.monotonic()
                if left <= 0 or not await asks.wait_for(held.approval, left):
                    raise
            except Denied as denied:
                if "tool_changed" in denied.reasons:
                    self._routes_at = -FRESH_FOR
                if "task_not_open" in denied.reasons or "task_expired" in denied.reasons:
                    self._purse.forget(visit.task)
                raise

    async def _exchange(
        self,
        asks: EnforcerAsks,
        visit: Visit,
        meant: Meant,
        request: Outgoing,
        credential: Credential,
        stack: AsyncExitStack,
    ) -> Answer:
        route = meant.route
        headers = _headers(visit, route, request, credential)
        body = request.body if route.method not in ("GET", "HEAD", "DELETE") or request.body else None
        try:
            async with asyncio.timeout(self._patience):
                response = await stack.enter_async_context(
                    self._upstreams.send(
                        route.origin, route.method, request.target, headers, body,
                        private=route.allow_private_network, patience=self._patience,
                    )
                )  # fmt: skip
                stream = response.aiter_stream().__aiter__()
                first, whole = await _some(stream, OBSERVED_LIMIT)
        except AddressRefused:
            return answers.unusable(f"{route.origin} is at an address that is not talked to.")
        except _BROKEN as failure:
            return answers.unusable(f"{route.origin} did not answer as it should ({type(failure).__name__}).")
        media = answers.header(response.headers, b"content-type")
        flaw = _flaw(response, media, first, whole, credential)
        if flaw:
            return answers.unusable(flaw)
        content = (
            answers.shown(media, first, response.status) if whole else answers.described(media, response.status, None)
        )
        if len(json.dumps(content)) > OBSERVED_LIMIT:
            return answers.unusable("The answer is longer than can be recorded.")
        try:
            await asks.observe(meant.tool, content)
        except RemitError as refused:
            return answers.unusable(f"What came back could not be recorded: {refused.message}")
        given = answers.passed_on(response.headers, credential, route.origin, visit.base)
        if whole:
            length = answers.header(response.headers, b"content-length") if visit.method == "HEAD" else ""
            return Answer(response.status, given, first, length=int(length) if length.isdigit() else None)
        return Answer(response.status, given, more=_file(stream, first, credential))


def _headers(visit: Visit, route: HttpRoute, request: Outgoing, credential: Credential) -> list[tuple[bytes, bytes]]:
    """Ours, and of the agent's only those that say nothing about whom and what."""
    passing = {*_FORWARDED, *(name.lower() for name in route.headers)}
    said = [(name, value) for name, value in visit.headers if name in passing]
    agent = next((value for name, value in visit.headers if name == "user-agent"), "remit-egress")
    found = [("User-Agent", agent), ("Accept-Encoding", "identity"), *said]
    if request.media:
        found.append(("Content-Type", request.media))
    coded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found]
    return [*coded, (credential.header, credential.value)] if credential.header else coded


def _flaw(response: httpcore.Response, media: str, first: bytes, whole: bool, credential: Credential) -> str:
    """Why this answer is not given to anybody, or empty."""
    if not 200 <= response.status <= 599:
        return "The answer's status is none that is passed on."
    if answers.header(response.headers, b"content-encoding") not in ("", "identity"):
        return "The answer is compressed, although that was not asked for."
    if credential.shows_in(first):
        return "The answer has the credential in it."
    if not whole and not media.startswith(_FILES):
        return f"The answer is text of more than {OBSERVED_LIMIT} bytes."
    return ""


async def _body(receive: Any) -> bytes:
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_TIME):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BadField("body", "was not sent whole")
                found += message.get("body", b"")
                if len(found) > BODY_LIMIT:
                    raise TooLarge(f"A request's body may have {BODY_LIMIT} bytes.")
                if not message.get("more_body"):
                    return bytes(found)
    except TimeoutError as slow:
        raise BadField("body", f"took more than {BODY_TIME:.0f} s") from slow


async def _some(stream: AsyncIterator[bytes], most: int) -> tuple[bytes, bool]:
    """What came first, and whether that was all."""
    found = bytearray()
    async for chunk in stream:
        found += chunk
        if len(found) > most:
            return bytes(found), False
    return bytes(found), True


async def _file(stream: AsyncIterator[bytes], first: bytes, credential: Credential) -> AsyncIterator[bytes]:
    """A long answer, given piece by piece. As much is held back as the credential could begin in.

    A break tells the agent that it is not whole.
    """
    count, kept, until = 0, b"", time.monotonic() + FILE_TIME
    async for chunk in _after(first, stream):
        count += len(chunk)
        kept += chunk
        if count > FILE_LIMIT or time.monotonic() > until or credential.shows_in(kept):
            raise httpcore.ReadError("too long, too slow, or the credential is in it")
        ready = len(kept) - credential.overlap
        if ready > 0:
            yield kept[:ready]
            kept = kept[ready:]
    yield kept


async def _after(first: bytes, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in stream:
        yield chunk


def _route(found: Mapping[str, Any]) -> HttpRoute:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return HttpRoute(**fields)
