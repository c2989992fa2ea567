"""Edges: the real reconcilers and verbs of an edge, on a store of its own, and the centre's real routes behind the network."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec

from remit.domain import events
from remit.domain.caller import CallerKind
from remit.domain.decision import Access, Permit
from remit.domain.errors import NotEntrusted, NotHome, Refusal, Unavailable
from remit.domain.estate import HOUSEKEEPING, EdgeSeen
from remit.domain.flow import Json
from remit.estate.keys import EdgeSealer, EdgeSigner
from remit.formats import base64url, jwk
from remit.formats.estate import Signed
from remit.ports import Env
from remit.ports.estate import Handed, Heard, Reported
from remit.verbs.decide import decide
from remit.web import api_estate
from remit.web.at_home import at_home
from remit.web.frame_stream import FrameStream
from remit.web.frames import Frames
from remit.work.edge import edge as pace
from remit.work.edge.edge import EdgeWork
from remit.work.edge.follow import Follow
from remit.work.edge.freshness import Freshness
from remit.work.edge.report import Report
from remit.work.edge.take import Take

from . import house as houses
from .database import Database, SimulatedStore
from .loop import Node
from .network import Network, NoAnswer, Weather

LATE = 20  # ms: what a clock that drifts makes of a bound


def drawn(seed: int) -> ExitStack:
    """What the code of edges draws, drawn from the seed."""
    rng, stack = Random(f"drawn {seed}"), ExitStack()
    stack.enter_context(patch.object(secrets, "token_hex", lambda size=32: f"{rng.getrandbits(size * 8):0{size * 2}x}"))
    stack.enter_context(patch.object(random, "uniform", rng.uniform))
    stack.enter_context(patch.object(pace, "EXTEND_EVERY", 0.5))  # nothing depends on how often, and a step costs time
    stack.enter_context(patch.object(pace, "REPORT_EVERY", 1.0))
    return stack


class Centre:
    """`ports.estate.Centre` of one edge: each call goes to some replica, and to the handler of its route there."""

    def __init__(self, house: Any, edge: Edge) -> None:
        self._house, self._edge = house, edge

    async def snapshot(self, nonce: str, seat: str) -> Signed:
        return _signed(await self._ask(api_estate.snapshot, {"nonce": nonce, "seat": seat}))

    async def catalogue(self, digest: str) -> Mapping[str, str]:
        found: dict[str, str] = (await self._ask(api_estate.catalogue, None, digest=digest))["files"]
        return found

    async def frames(self, since: int) -> Sequence[Signed]:
        return [_signed(one) for one in (await self._ask(api_estate.frames, None, since=since))["frames"]]

    async def pushed(self, since: int) -> AsyncIterator[Signed]:
        """A stream: what was sent arrives in order, or the stream breaks."""
        replica = self._house.any()
        arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
        node, network, last = self._edge.node, self._house.network, [0.0]

        gone = asyncio.Event()

        async def serve() -> None:
            stream = FrameStream(replica.frames, self._edge.name, since)
            await stream({}, receive, send)

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if not node.alive or (replica.node.name, node.name) in network.cut:
                gone.set()
                return
            last[0] = max(last[0] + 1e-6, network.loop.time() + network.delay())
            network.loop.call_at(last[0], arrived.put_nowait, message.get("body", b""), context=node.context)

        await network.call(node, replica.node, "opens a stream", lambda: _nothing(), 2.0)
        stream = replica.node.spawn(serve())
        try:
            while True:
                async with asyncio.timeout(40):
                    line = await arrived.get()
                for part in (line or b"").split(b"\n"):
                    if part.startswith(b"data:"):
                        yield _signed(json.loads(part[5:]))
        except TimeoutError as silent:
            raise Unavailable("The stream is silent.") from silent
        finally:
            stream.cancel()

    async def beat(self, nonce: str, seen: EdgeSeen) -> Heard:
        found = await self._ask(api_estate.beats, {"nonce": nonce, "seen": msgspec.to_builtins(seen)}, seconds=2.0)
        return Heard(_signed(found), found["received"])

    async def entrust(self, task: str, seat: str, nonce: str) -> Handed:
        found = await self._ask(api_estate.entrusted, {"seat": seat, "nonce": nonce}, task=task)
        return Handed(_signed(found), base64url.decode(found["memory"]))

    async def give_back(self, task: str, seat: str, through: int) -> None:
        await self._ask(api_estate.returned, {"seat": seat, "through": through}, task=task)

    async def report(self, seat: str, events: Sequence[Reported]) -> int:
        told = [
            {"index": one.index, "leaf": one.leaf.decode(), "bodies": [body.decode() for body in one.bodies]}
            for one in events
        ]
        return int((await self._ask(api_estate.reports, {"seat": seat, "events": told}))["received"])

    async def call(self, path: str, body: Json) -> tuple[int, Json]:
        raise Unavailable("Nothing is passed on here.")

    async def access_key(self, digest: str) -> None:
        return None

    async def _ask(self, handler: Any, body: Any, seconds: float = 5.0, **path: Any) -> Any:
        replica = self._house.any()
        text = msgspec.json.encode(body)

        async def serve() -> Any:
            asked = SimpleNamespace(
                json=lambda shape: msgspec.json.decode(text, type=shape),
                path=path,
                headers={},
                whole=lambda name, default, most: path.get(name, default),
            )
            response = await handler(replica.house, replica.call(CallerKind.EDGE, self._edge.name), asked)
            return bytes(response.body)

        what = f"{self._edge.name}: {handler.__name__}"
        try:
            return json.loads(await self._house.network.call(self._edge.node, replica.node, what, serve, seconds))
        except NoAnswer as lost:
            raise Unavailable("The centre does not answer.", inside=str(lost)) from lost


async def _nothing() -> None:
    """It was reached."""


def _signed(found: Any) -> Signed:
    return Signed(found["statement"], found["body"])


class Edge:
    """One process at a time over one disk: `start` after `kill` is the next."""

    def __init__(self, house: Any, name: str) -> None:
        self.house, self.name = house, name
        self.disk = Database(Node(f"{name}-disk", house.loop))
        self.permits = 0
        self.reportable = 0
        self.disk.committed = self._committed
        self.start()

    def start(self) -> None:
        house, skew = self.house, self.house.settings.skew
        drift = house.rng.choice((-1, 0, 1)) * 1e-3 if skew else 0.0
        self.node = Node(self.name, house.loop, offset=house.rng.randint(-10 * skew, 10 * skew), drift=drift)
        wires = Network(house.loop, Random(f"disk {house.seed} {self.name}"), Weather(0.2), house.say)
        self.store = SimulatedStore(self.disk, self.node, wires)
        self.signer, self.sealer = EdgeSigner(houses.SIGNER), EdgeSealer(houses.SEALER)
        self.freshness = Freshness(lambda: int(self.node.monotonic() * 1000))
        self.env = Env(
            store=self.store,
            signer=self.signer,
            sealer=self.sealer,
            attestor=houses.Attestors(),
            issuer=lambda config: _no_issuer(),
            clock=self.node.clock,
            new_id=lambda kind: f"{kind}_{house.rng.getrandbits(128):032x}",
            nudge=lambda: self.work.nudge(),
            trust_domain="",
            issuer_url="https://remit.test",
            place=self.name,
            age=self.freshness.age,
        )
        pins = tuple(jwk.parse(one).thumbprint for one in houses.SIGNER.public("token"))
        centre = Centre(house, self)
        follow = Follow(self.env, centre, self.freshness, pins, self.signer.follow)
        take = Take(self.env, centre, follow, self.sealer)
        report = Report(self.env, centre, self.store, f"{self.name}/log", follow, self.sealer, 10_000)
        self.work = EdgeWork(self.env, centre, self.freshness, follow, take, report, houses.Quiet())
        self.node.spawn(self._run())

    async def _run(self) -> None:
        await self.work.begin()
        self.work.start(self.store.forget_spent)

    def kill(self) -> None:
        """kill -9; its disk stays."""
        self.house.say(f"kill -9 {self.name}")
        self.node.kill()
        self.house.loop.call_later(0.001, self.disk.left_by, self.node, context=self.disk.node.context)

    def reported(self) -> bool:
        """Whether the centre has taken in everything on its disk."""
        return set(self.disk.visible) == self.disk.placed and self.work._report.received == len(self.disk.placed)

    def _committed(self, number: int, leaf: bytes, rows: Any) -> None:
        event = msgspec.json.decode(leaf)
        self.reportable += event["type"] not in HOUSEKEEPING
        self.permits += event["type"] == events.AccessDecided.__name__ and event["data"]["decision"] == "permit"
        self.house.say(
            f"{self.name} #{number} {event['type']} {event['data'].get('task', '')[-4:]} {event['data'].get('decision', '')}"
        )

    async def decided(self, call: Callable[[Any], Any], access: Access, replica: Any) -> Any:
        """As `web.edge.EdgeHouse` does it: here if this edge holds the task, else at the centre."""
        witness, loop = self.house.witness, self.house.loop
        try:
            self.work.must_be_heard()
            await self.work.take(access.task)
            decision = await decide(self.env, call(self), access)
            if isinstance(decision, Permit):
                bound = houses.STALE[self.name] * (1 + 2e-3) + LATE
                witness.edge_permits(self.name, access.task, access.tool, loop.time() * 1000, bound)
            return decision
        except NotEntrusted:
            pass
        except NotHome:
            await self.work.bring_home(call(self), access.task, "a call of it needs the centre")

        async def there() -> Any:
            async def ask(fresh: Any) -> Any:
                return await decide(replica.env, fresh, access)

            return await at_home(replica.env, call(replica), access.task, ask, "passed on")

        try:
            return await self.house.network.call(self.node, replica.node, f"{self.name} passes on", there, 5.0)
        except NoAnswer as lost:
            raise Unavailable("The centre does not answer.") from lost

    def call(self, kind: CallerKind, name: str, jkt: str = "") -> Any:
        """As the surface of this edge makes it."""
        return houses.Call(houses.Caller(kind, name, jkt=jkt), self.node.clock())


def _no_issuer() -> Any:
    raise Refusal("No credential is minted at an edge.")


def behind(replica: Any) -> Any:
    """What the centre's routes need of a replica's house."""
    counter = SimpleNamespace(inc=lambda: None)
    metrics = SimpleNamespace(reports_refused=SimpleNamespace(labels=lambda edge: counter))
    replica.frames = Frames(replica.env, replica.store)
    return SimpleNamespace(
        env=replica.env,
        log=replica.store,
        frames=replica.frames,
        sightings=SimpleNamespace(saw=lambda seen: None),
        metrics=metrics,
        url=replica.env.issuer_url,
    )
