"""A world under the simulator: replicas with the real verbs and reconcilers on one database, and the parties around them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any, cast
from zlib import crc32

import structlog

from remit.attest import Attestors
from remit.domain.caller import Call, Caller, CallerKind
from remit.formats.tlog import note_key
from remit.issuers.keyring import RootSealer
from remit.ports import Env, Wake
from remit.ports.env import _IN_FORCE
from remit.verbs.apply import apply
from remit.verbs.attest import JoinEvidence, attest, invite
from remit.work import driver as driving
from remit.work.contain import tend_findings
from remit.work.end_leases import end_leases
from remit.work.recognise import recognise
from remit.work.sequence import sequence
from tests.delegating import CATALOGUE as BARE

from . import edges
from .database import Database, SimulatedStore
from .keys import FixedSigner, fixed
from .loop import EPOCH, Node, SimulatedLoop
from .network import Network, Weather
from .outside import Adapter, Outside
from .settings import Settings
from .witness import Witness

LOG = "remit.test/log"
AGENTS = ("bot", "other", "third")
SIGNER, SEALER = FixedSigner(), RootSealer(b"r" * 32)
STALE = {"east": 2_000, "west": 5_000}  # edges, and for how long each relies on what it heard (ms)
EDGES = "".join(
    f'[edges.{name}]\nurl = "https://{name}.example"\nowner = "olga"\nstale_after = "{ms // 1000}s"\n'
    for name, ms in STALE.items()
)
CATALOGUE = {**BARE, "remit.toml": BARE["remit.toml"] + EDGES}
CATALOGUES: tuple[Mapping[str, str], ...] = (
    CATALOGUE,
    {**CATALOGUE, "purposes/lead.toml": CATALOGUE["purposes/lead.toml"].replace("max_calls = 20", "max_calls = 6")},
    {
        **CATALOGUE,
        "policies/default.cedar": CATALOGUE["policies/default.cedar"]
        + '@id("more") permit (principal, action, resource);\n',
    },
)
FLUSHED = structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])


class Quiet:
    """`work.driver.Observer`."""

    def passed(self, name: str, *, ok: bool) -> None: ...

    def killed(self, count: int, failed: int) -> None: ...

    def dead(self, issuer: str, seconds: float) -> None: ...


class Driver(driving.Driver):
    """The real one, with the passes that end things and extend the log, at a pace that leaves time for others."""

    idle = 1.0
    leaks = False

    def _reconcilers(self, env: Env, log: Any, log_name: str, forget: Any) -> Any:
        async def leases() -> bool:
            return not (await end_leases(env, self._clock(), lanes=self._lanes)).idle

        leaks = (
            driving.Reconciler("recognise", lambda: recognise(env, self._clock()), self.idle, Wake.NUDGED),
            driving.Reconciler("tend_findings", lambda: tend_findings(env, self._clock()), self.idle, Wake.NUDGED),
        )
        return (
            *(leaks if self.leaks else ()),
            driving.Reconciler("end_leases", leases, self.idle, Wake.NUDGED),
            driving.Reconciler("sequence", lambda: sequence(log, env.signer, log_name), self.idle, Wake.URGENT),
        )


class Replica:
    """One process: a node, its store, its Env, and its driver, until it is killed."""

    def __init__(self, house: House, name: str, *, idle: float = 1.0, exact: bool = False) -> None:
        skew = 0 if exact else house.settings.skew
        offset = house.rng.randint(-skew, skew)
        drift = house.rng.choice((-1, 0, 1)) * 1e-4 if skew else 0.0
        self.node = Node(name, house.loop, offset=offset, drift=drift)
        self.store = SimulatedStore(house.database, self.node, house.wires)
        self.store.acknowledged = house.witness.acknowledged_event
        self.driver = Driver(self.node.clock, Quiet())
        self.driver.leaks = bool(house.settings.leaks)
        adapter = Adapter(house.outside, self.node, house.network)
        self.env = environment(self.store, lambda config: adapter, self.node.clock, house.rng, self.driver.nudge)
        self.house = edges.behind(self)
        if idle:
            self.driver.idle = idle
            self.node.spawn(self._start())

    async def _start(self) -> None:
        self.driver.start(self.env, self.store, LOG, self.store.forget_spent)

    def call(self, kind: CallerKind, name: str, jkt: str = "") -> Call:
        """As the edge of this replica makes it: by its own clock."""
        return Call(Caller(kind, name, jkt=jkt), self.node.clock())


def environment(store: Any, issuer: Any, clock: Callable[[], int], rng: Random, nudge: Callable[[], None]) -> Env:
    return Env(
        store=store,
        signer=SIGNER,
        sealer=SEALER,
        attestor=Attestors(),
        issuer=issuer,
        clock=clock,
        new_id=lambda kind: f"{kind}_{rng.getrandbits(128):032x}",
        nudge=nudge,
        trust_domain="remit.test",
        issuer_url="https://remit.test",
    )


@dataclass(frozen=True)
class Begun:
    """What every world begins with: the catalogue in force, and agents that have proved their keys."""

    database: Database
    jkts: Mapping[str, str]


@lru_cache(maxsize=1)
def begun() -> Begun:
    loop = SimulatedLoop(Random(0))
    database = Database(Node("db", loop))
    env = environment(
        database,
        lambda config: Adapter(cast(Any, None), cast(Any, None), cast(Any, None)),
        lambda: EPOCH,
        Random(0),
        lambda: None,
    )
    operator = Call(Caller(CallerKind.OPERATOR, "op"), EPOCH)
    jkts = {}

    async def main() -> None:
        await apply(env, operator, CATALOGUES[0])
        for number, name in enumerate(AGENTS):
            key = fixed(2001 + number).public
            token, _ = await invite(env, operator, name, 60_000)
            await attest(env, Call(Caller(CallerKind.AGENT, name), EPOCH), JoinEvidence(token), key.thumbprint, key.jwk)
            jkts[name] = key.thumbprint

    loop.run_until_complete(main())
    return Begun(database, jkts)


class House:
    """Everything of one run. `say` keeps the last lines of what happened; `digest` is of all that ever did."""

    def __init__(self, seed: int, settings: Settings, *, keep: int = 60) -> None:
        self.seed, self.settings = seed, settings
        self.loop = SimulatedLoop(Random(f"order {seed}"), shuffled=bool(settings.shuffled))
        self.rng = Random(f"house {seed}")
        self.lines: deque[str] = deque(maxlen=keep)
        self.digest = 0
        weather = settings.weather()
        self.network = Network(self.loop, Random(f"network {seed}"), weather, self.say)
        wires = Weather(max(0.2, settings.latency / 5), 2_000, settings.late and settings.late * 10, settings.broken)
        self.wires = Network(self.loop, Random(f"wires {seed}"), wires, self.say)
        start = begun()
        _IN_FORCE.clear()  # a cache of the process: what an earlier run left there would save this one a read
        self.jkts = start.jkts
        self.database = Database(Node("db", self.loop))
        self.database.load(start.database)
        disk = Random(f"disk {seed}")
        self.database.fsync = lambda: disk.random() * 0.004
        pg = Node("pg", self.loop, offset=self.rng.randint(-settings.skew, settings.skew))
        outside = Random(f"outside {seed}")
        self.outside = Outside(pg, outside, 0.05, settings.issuer_slow, settings.issuer_mute, say=self.say)
        self.witness = Witness(self.database, self.outside, self.say)
        append = self.database.append

        async def appended(extension: Any) -> None:
            await append(extension)
            self.witness.heads.append((extension.size, extension.note))

        self.database.append = appended  # type: ignore[method-assign]
        self.idle = self.rng.choice((0.5, 2.0, 5.0))
        self.replicas: dict[str, Replica] = {}
        for number in range(settings.replicas):
            self.start(f"r{number}")
        self.client = Node("world", self.loop)
        self.witness.clock = self.loop.time
        self.edges = [edges.Edge(self, name) for name in list(STALE)[: settings.edges]]
        self.witness.edges = self.edges
        self.tasks: list[tuple[str, str, str]] = []  # id, agent, the customer it is for
        self.handed: list[tuple[str, str, str]] = []  # delegation token, receiver, customer
        self.given: list[tuple[str, str]] = []  # lease, agent
        self.secrets: list[tuple[str, str]] = []  # task, what one of its credentials opens with

    def say(self, line: str) -> None:
        at = self.loop.time()
        self.digest = crc32(line.encode(), self.digest)
        self.lines.append(f"{self.loop.steps:>6} {at:10.4f} {line}")

    # --- replicas ---

    def start(self, name: str) -> None:
        self.replicas[name] = Replica(self, name, idle=self.idle)

    def kill(self, name: str) -> None:
        """kill -9: its connections break a moment later."""
        node = self.replicas[name].node
        self.say(f"kill -9 {name}")
        node.kill()
        self.loop.call_later(0.001, self.database.left_by, node, context=self.database.node.context)

    def any(self) -> Replica:
        """Whom a balancer would send this to: it does not always know who is dead."""
        return self.replicas[self.rng.choice(sorted(self.replicas))]

    async def ask(self, what: str, verb: Callable[[Replica], Any], seconds: float = 10.0) -> Any:
        """A request from outside to some replica."""
        replica = self.any()
        return await self.network.call(self.client, replica.node, f"{what}", lambda: verb(replica), seconds)

    # --- the end ---

    async def come_to_rest(self) -> None:
        """Nothing goes wrong any more, and nobody asks for anything: all that was begun is ended."""
        from remit.domain.task import Task
        from remit.verbs.revoke import end_task

        self.say("— all calm —")
        self.network.weather = self.wires.weather = Weather(0.1)
        self.network.cut.clear()
        self.database.down = self.outside.down = False
        self.outside.slow_one_in = self.outside.mute_one_in = 0
        for name in sorted(self.replicas):
            self.kill(name)
        for edge in self.edges:
            edge.node.stop()
        await asyncio.sleep(60)
        last = Replica(self, "last", idle=0, exact=True)

        async def finish() -> None:
            env, node = last.env, last.node
            self.replicas = {"last": last}
            for edge in self.edges:
                edge.node.go_on()
                if not edge.node.alive:
                    edge.start()
            for edge in self.edges:
                for _ in range(200):
                    if edge.reported():
                        break
                    await asyncio.sleep(0.5)
                edge.kill()
            open_ = await env.store.find(Task, {"state": "open"}, limit=1000)
            for task in open_[::2]:
                await end_task(env, last.call(CallerKind.OPERATOR, "op"), task.id, "stop")
            for _ in range(30):
                done = await end_leases(env, node.clock())
                self.say(f"pass: {done.killed} killed, {done.settled} settled, {done.errors}")
                if done.idle and node.loop.time() > 1_100:
                    break
                await asyncio.sleep(61)
            while await sequence(last.store, env.signer, LOG):
                pass

        await last.node.spawn(finish())
        await self.witness.at_rest([note_key(LOG, cast(Any, SIGNER.public("log")[0]))])


def now(call: Call, ms: int) -> Call:
    return replace(call, now=ms)
