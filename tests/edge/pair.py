"""A centre and an edge in one process over HTTP without a socket, whose passes run when a test says so.

What lies between them is `Between`: the test is the network, and may keep, repeat, change and swap what passes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.decision import Access
from remit.domain.task import Task
from remit.estate.https import HttpsCentre
from remit.formats import jwk
from remit.formats import signing_key as keys
from remit.roots.edge import EdgeSettings, Enrolment, open_edge
from remit.roots.server import Settings, open_house
from remit.testing.clock import ManualClock
from remit.verbs.admit import admit
from remit.verbs.apply import apply
from remit.verbs.attest import JoinEvidence, attest, invite
from remit.verbs.propose import Proposal, propose
from remit.web.app import create_app
from tests.edge.estate import catalogue

URL = "http://127.0.0.1:1"
Answer = tuple[int, Any]


class Between(httpx.AsyncBaseTransport):
    """The network. `on(path, change)`: what is answered there goes through `change(status, body)` first."""

    def __init__(self, app: Any) -> None:
        self._real = httpx.ASGITransport(app)
        self.changes: dict[str, Callable[[int, Any], Answer]] = {}
        self.seen: list[tuple[str, Any]] = []
        self.asked: list[tuple[str, bytes]] = []
        self.up = True

    def on(self, path: str, change: Callable[[int, Any], Answer]) -> None:
        self.changes[path] = change

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if not self.up or "text/event-stream" in request.headers.get("accept", ""):
            raise httpx.ConnectError("cut", request=request)
        body = await request.aread()
        self.asked.append((path, body))
        answer = await self._real.handle_async_request(request)
        content = await answer.aread()
        found = json.loads(content) if content else None
        self.seen.append((path, found))
        for start, change in self.changes.items():
            if path.startswith(start):
                status, found = change(answer.status_code, found)
                return httpx.Response(status, json=found, request=request)
        return httpx.Response(answer.status_code, content=content, headers=answer.headers, request=request)


@dataclass
class Pair:
    """Both ends, and the network."""

    centre: Any
    edge: Any
    work: Any
    between: Between
    boot: ManualClock
    jkt: str = ""
    calls: list[Any] = field(default_factory=list)

    def call(self, kind: CallerKind = CallerKind.OPERATOR, name: str = "op", **more: Any) -> Call:
        return Call(Caller(kind, name, **more), self.centre.clock())

    async def task(self, agent: str = "bot", purpose: str = "pay", **more: Any) -> Task:
        """An open task of a fresh key."""
        parameters = more.pop("parameters", {"customer": "acme"})
        goal = "Mail the open issues to ann@x.example" if purpose == "mail" else "pay it"
        key = keys.generate("ES256").public
        token, _ = await invite(self.centre.env, self.call(), agent, 60_000)
        await attest(self.centre.env, self.call(CallerKind.AGENT, agent), JoinEvidence(token), key.thumbprint, key.jwk)
        who = self.call(CallerKind.AGENT, agent, jkt=key.thumbprint)
        return await propose(self.centre.env, who, Proposal(purpose, goal, parameters, **more))

    def caller(self, task: Task) -> Call:
        return self.call(CallerKind.AGENT, task.agent, task=task.id, jkt=task.jkt)

    async def decide(self, task: Task, tool: str = "list", **arguments: Any) -> dict[str, Any]:
        """What the edge says."""
        given = arguments or {"customer": "acme"}
        return await self.edge.decided(self.caller(task), Access(task.id, tool, given, ""))

    async def decide_at_centre(self, task: Task) -> dict[str, Any]:
        """What the centre says."""
        return await self.centre.decided(self.caller(task), Access(task.id, "list", {"customer": "acme"}, ""))

    async def log_caught_up(self) -> None:
        """All that was committed at the centre has its place."""
        await self.centre.frames.length()

    async def told(self) -> None:
        """What happened at the centre is known at the edge, and the edge is fresh."""
        await self.log_caught_up()
        await self.work.beat()
        await self.work.pull()

    async def there(self, task: Task) -> Task:
        """The task as the centre has it."""
        found = await self.centre.env.store.get(Task, task.id)
        assert found is not None
        return found

    async def here(self, task: Task) -> Task | None:
        """The task as the edge has it."""
        return await self.edge.env.store.get(Task, task.id)


@asynccontextmanager
async def pair(
    tmp: Path,
    *,
    stale: str = "5s",
    files: dict[str, str] | None = None,
    by_itself: bool = False,
    at: Any = None,
    data: str = "edge",
    backlog: int = 100_000,
    bus: Any = None,
) -> AsyncIterator[Pair]:
    """Both, joined and fresh. `at` is a centre that is open already."""
    if at is None:
        async with open_house(Settings(data=tmp / "centre", public_url="http://127.0.0.1:2")) as house:
            found = {**catalogue(URL, stale=stale), **(files or {})}
            await apply(house.env, Call(Caller(CallerKind.OPERATOR, "op"), house.clock()), found)
            async with pair(tmp, by_itself=by_itself, at=house, data=data) as both:
                yield both
        return
    call = Call(Caller(CallerKind.OPERATOR, "op"), at.clock())
    key, _ = await admit(at.env, call, CallerKind.EDGE, "east", 3_600_000)
    between, boot = Between(create_app(at)), ManualClock(1_000_000)
    pins = tuple(jwk.parse(one).thumbprint for one in at.env.signer.public("token"))
    enrolment = Enrolment("east", at.url, at.url, "", "", pins)
    reached = HttpsCentre(at.url, key, transport=between)
    settings = EdgeSettings(data=tmp / data, backlog=backlog)
    opened = open_edge(settings, enrolment, centre=reached, bus=bus, boottime=lambda: boot.now, by_itself=by_itself)
    async with opened as (house, work):
        both = Pair(at, house, work, between, boot)
        await work.join()
        await both.told()
        await work.report()
        yield both
        between.up = False  # as if it were pulled out: nothing goes home on the way
