"""An edge: in process, a world of its own that really decides; over HTTP, its side of the wire written out."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.catalogue import CatalogueFiles, CatalogueHead
from remit.domain.change import Change
from remit.domain.decision import Access, Decision
from remit.domain.identity import Identity
from remit.domain.origin import Observation
from remit.domain.task import Task
from remit.formats import base64url, jwk
from remit.formats.estate import Said, Signed, Statement, parse
from remit.formats.record import KIND_OF, unpack
from remit.formats.row_body import decode
from remit.ports import Entrusted, Env, Reported
from remit.store.memory import MemoryStore
from remit.verbs.apply import apply
from remit.verbs.decide import decide
from remit.verbs.observe import observe

SYSTEM = Caller(CallerKind.SYSTEM, "edge")


class Remembers:
    """Derives one key: the one that came with the task."""

    def __init__(self, memory: bytes) -> None:
        self.memory = memory

    def derive(self, context: bytes) -> bytes:
        return self.memory


@dataclass
class EdgeWorld:
    """Decides in a store of its own with the very verbs, and reports what its log has."""

    env: Env
    store: MemoryStore
    name: str = "west"
    seat: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    async def beside(cls, env: Env, files: Any, name: str = "west", seat: str = "") -> EdgeWorld:
        """One that follows this centre; its catalogue is the same."""
        store = MemoryStore()
        there = replace(env, store=store, place=name)
        await apply(there, Call(SYSTEM, env.clock()), files)
        return cls(there, store, name, seat or secrets.token_hex(8))

    def call(self) -> Call:
        """What the centre knows its requests as."""
        return Call(Caller(CallerKind.EDGE, self.name), self.env.clock())

    async def take(self, given: Entrusted, memory: bytes) -> None:
        """Keep a task that it was entrusted with."""
        self.env = replace(self.env, sealer=Remembers(memory))  # type: ignore[arg-type]
        task = given.task
        change = Change(events.TaskTaken(task.id, task.agent, 0), Call(SYSTEM, self.env.clock()))
        change = change.put(task, was=await self.store.get(Task, task.id))
        for row in (given.identity, *given.observations):
            if await self.store.get(type(row), row.key) is None:
                change = change.put(row, was=None)
        await self.store.commit(change)

    async def follow(self, centre: Env) -> None:
        """Have in force what the centre says is in force here."""
        head = await centre.store.get(CatalogueHead, "head")
        assert head is not None
        digest = head.at(self.name)
        change = Change(events.Followed(0, digest, 0, 0), Call(SYSTEM, self.env.clock()))
        change = change.put(head, was=await self.store.get(CatalogueHead, "head"))
        if await self.store.get(CatalogueFiles, digest) is None:
            files = await centre.store.get(CatalogueFiles, digest)
            assert files is not None
            change = change.put(files, was=None)
        await self.store.commit(change)

    async def decide(self, agent: Call, task: str, tool: str = "list", **arguments: Any) -> Decision:
        """One call of an agent."""
        call = replace(agent, now=self.env.clock())
        return await decide(self.env, call, Access(task, tool, arguments or {"customer": "acme"}))

    async def observe(self, agent: Call, task: str, content: Any, tool: str = "list") -> Observation:
        """One result."""
        return await observe(self.env, replace(agent, now=self.env.clock()), task, tool, content)

    async def log(self, since: int = 0) -> list[Reported]:
        """Its log from there on, with the bodies that a history keeps only the digests of."""
        withheld = await self.store.bodies(KIND_OF[Observation])
        found = []
        for number, leaf, packed in await self.store.history(since, 10_000):
            writes = msgspec.json.decode(leaf)["writes"]
            bodies = [
                body or withheld.get(key, b"") for (_, key, _, _), body in zip(writes, unpack(packed), strict=True)
            ]
            found.append(Reported(number - 1, leaf, bodies))
        return found


@dataclass
class EdgeClient:
    """An edge at a real server."""

    server: Any
    name: str = "west"
    seat: str = field(default_factory=lambda: secrets.token_hex(8))
    issuer: str = ""

    def __post_init__(self) -> None:
        if self.name not in self.server.keys:
            made = self.server.http("operator").post("/v1/keys", json={"kind": "edge", "name": self.name})
            assert made.status_code == 201, made.text
            self.server.keys[self.name] = made.json()["key"]
        self.http = self.server.http(self.name)

    def keys(self) -> Sequence[jwk.PublicKey]:
        return jwk.parse_set(self.http.get("/.well-known/jwks.json").json())

    def verified(self, answer: Any, said: Said, nonce: str = "") -> Statement:
        """What the centre says, to this edge."""
        signed = Signed(answer["statement"], answer["body"])
        edge = "" if said is Said.FRAME else self.name
        return parse(signed, said, issuer=self.issuer or self.server.url, keys=self.keys(), edge=edge, nonce=nonce)

    def ask(self, path: str, **body: Any) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def snapshot(self) -> Statement:
        nonce = secrets.token_hex(16)
        answer = self.ask("/v1/estate/snapshot", nonce=nonce, seat=self.seat)
        return self.verified(answer, Said.SNAPSHOT, nonce)

    def beat(self, size: int = 0, **more: Any) -> tuple[Statement, int]:
        nonce = secrets.token_hex(16)
        seen = {"seat": self.seat, "size": size, "catalogue": "", "held": 0, "backlog": 0, "release": "test", **more}
        answer = self.ask("/v1/estate/beats", nonce=nonce, seen=seen)
        return self.verified(answer, Said.BEAT, nonce), answer["received"]

    def beat_size(self) -> int:
        """How long the log is now."""
        self.snapshot()
        return self.beat()[0].size

    def frames(self, since: int) -> list[Statement]:
        answer = self.http.get("/v1/estate/frames", params={"since": since})
        assert answer.status_code == 200, answer.text
        return [self.verified(one, Said.FRAME) for one in answer.json()["frames"]]

    def entrust(self, task: str) -> tuple[Entrusted, bytes]:
        nonce = secrets.token_hex(16)
        answer = self.ask(f"/v1/estate/tasks/{task}/entrust", seat=self.seat, nonce=nonce)
        body = self.verified(answer, Said.ENTRUSTED, nonce).body
        rows = [json.dumps(row).encode() for row in body["observations"]]
        given = Entrusted(
            decode(Task, json.dumps(body["task"]).encode()),
            decode(Identity, json.dumps(body["identity"]).encode()),
            [decode(Observation, row) for row in rows],
        )
        return given, base64url.decode(answer["memory"])

    def report(self, told: Sequence[Reported]) -> Any:
        sent = [
            {"index": one.index, "leaf": one.leaf.decode(), "bodies": [body.decode() for body in one.bodies]}
            for one in told
        ]
        return self.http.post("/v1/estate/reports", json={"seat": self.seat, "events": sent})
