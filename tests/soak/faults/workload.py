"""Agents at work, and everybody else of `people`.

One process on the host `agents`. Nobody gives up: whoever was refused goes on asking for a while, because that is when
a permit would be a crime. Everything that was asked and answered is written down (see `history`).

    python -m tests.soak.faults.workload PLAN.json
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from remit_client.aio import AsyncRemit, AsyncTask
from remit_client.errors import Denied, Held, RemitError, Unreachable, of_problem
from remit_client.keys import AgentKey

from . import catalogue, people
from .door import DOOR, TRACE, Doors
from .history import Op, Writer, now

PATIENCE = httpx.Timeout(6, connect=2)
STUBBORN = 5.0  # seconds that a task is still used after it was refused
LONGEST = 60.0  # seconds that a task is used at most
OVER = {"task_not_open", "task_expired", "agent_frozen", "purpose_frozen", "purpose_superseded", "budget_spent"}


@dataclass
class Live:
    """A task somebody works on. `over` is when its agent first heard that it is over, by the one clock in seconds."""

    task: AsyncTask
    agent: str
    purpose: str
    near: str = ""  # the edge that it mostly asks
    over: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> bool:
        now = time.monotonic()
        return now > self.began + LONGEST or bool(self.over and now > self.over + STUBBORN)

    @property
    def id(self) -> str:
        return self.task.id


class World:
    """Everybody, and what they are told."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.plan = plan
        self.choose = random.Random(plan["seed"])
        self.replicas, self.edges = list(plan["replicas"]), plan["edges"]
        self.keys: dict[str, AgentKey] = {}
        self.doors = Doors(plan["doors"], plan["ca"])
        self.http = httpx.AsyncClient(transport=self.doors, timeout=PATIENCE)
        self.answered: set[str] = set()  # traces of calls that were decided
        self.history = Writer(Path(plan["history"]))
        self.tasks: dict[str, Live] = {}
        self.stop = asyncio.Event()

    async def ask(
        self, kind: str, who: str, door: str, what: Callable[[], Awaitable[Any]], task: str = "", **more: Any
    ) -> tuple[Op, Any]:
        """One request, written down with what came of it."""
        trace = secrets.token_hex(16)
        DOOR.set(door)
        TRACE.set(trace)
        at, sent, found, answered, said = int(time.time() * 1000), now(), None, 0, "unknown"
        try:
            found = await what()
            said, answered = "ok", now()
        except Held as held:
            said, answered, more["approval"] = "hold", now(), held.approval
        except Denied as denied:
            said, answered = "refused" if denied.code else "deny", now()
            more["reasons"] = denied.reasons
        except Unreachable as lost:
            more["why"] = f"{lost.code} {lost.message[:160]}"
        except RemitError as refused:
            said, answered, more["why"] = "refused", now(), f"{refused.code[:160]} {refused.message[:160]}"
        except (httpx.HTTPError, ValueError, OSError) as lost:
            more["why"] = type(lost).__name__
        if kind == "call" and said == "ok":
            said = "permit"
        if kind == "call" and said in ("permit", "deny", "hold"):
            self.answered.add(trace)
        if kind == "open" and said == "ok":
            task = found.id
        op = Op(kind, who, door, sent, answered, said, task, trace, at, more)
        self.history.write(op)
        return op, found

    # --- agents ---

    async def agent(self, name: str, token: str) -> None:
        """One agent's life: a task after another, some of them at a time."""
        remit = AsyncRemit(
            self.plan["url"], agent_dir=Path(self.plan["folder"]) / name, join_token=token, http=self.http
        )
        DOOR.set(self.replicas[0])
        self.keys[name] = remit.agent.key
        await remit.prove()
        if name == catalogue.STEADY:
            await asyncio.gather(*(self._steady(remit, door) for door in (*self.replicas, *self.edges)))
        else:
            await asyncio.gather(*(self._tasks(remit, name) for _ in range(self.plan["at_once"])))

    async def _steady(self, remit: AsyncRemit, door: str) -> None:
        """At every door somebody whom nobody freezes or revokes calls again and again: is it there?"""
        while not self.stop.is_set():
            live = await self._opened(remit, catalogue.STEADY, "steady", door if door in self.edges else "", 300, 200)
            while live is not None and not live.over and not self.stop.is_set():
                await self.call(live, door, "look", self.arguments())
                await asyncio.sleep(1.0)

    async def _tasks(self, remit: AsyncRemit, name: str) -> None:
        while not self.stop.is_set():
            much = (self.choose.choice((20, 60, 300)), self.choose.choice((5, 20, 200)))
            live = await self._opened(remit, name, self.choose.choice(catalogue.PURPOSES), self._edge(), *much)
            if live is not None:
                self.tasks[live.id] = live
                await asyncio.gather(*(self._work(live) for _ in range(2)))
                self.tasks.pop(live.id)

    async def _opened(
        self, remit: AsyncRemit, name: str, purpose: str, near: str, seconds: float, calls: int
    ) -> Live | None:
        task = remit.propose(purpose, "look around", {"customer": "acme"}, "", seconds, calls)

        async def open_it() -> AsyncTask:
            await task.open()
            return task

        op, _ = await self.ask("open", name, self.replica(), open_it, agent=name, purpose=purpose)
        if op.said == "ok":
            return Live(task, name, purpose, near)
        await asyncio.sleep(self.choose.uniform(0.2, 1.0))
        return None

    async def _work(self, live: Live) -> None:
        """Until it was over for a while; now and then its agent ends it, and does not stop either."""
        while not self.stop.is_set() and not live.done:
            luck = self.choose.random()
            if luck < 0.70:
                await self.call(live, self._door(live), "look", self.arguments())
            elif luck < 0.80:
                await self.call(live, self._door(live), "write", self.arguments())
            elif luck < 0.88 and self._at_the_centre(live):
                await self._held(live)
            elif luck < 0.96 and self._at_the_centre(live):
                await self._credential(live)
            elif luck < 0.96:
                continue
            else:
                await self.ask("end", live.agent, self.replica(), lambda: self._end(live), live.id)
            await asyncio.sleep(self.choose.uniform(*self.plan["pause"]))

    async def _end(self, live: Live) -> None:
        if (await live.task.end(settled=False))["state"] == "open":
            raise Unreachable("It looked, and it was open.")

    def replica(self) -> str:
        return self.choose.choice(self.replicas)

    def _edge(self) -> str:
        return self.choose.choice(list(self.edges)) if self.edges and self.choose.random() < 0.5 else ""

    def _door(self, live: Live) -> str:
        return live.near if live.near and self.choose.random() < 0.95 else self.replica()

    def _at_the_centre(self, live: Live) -> bool:
        """What needs the centre calls a task home, so those that are at an edge ask for it now and then only."""
        return not live.near or self.choose.random() < 0.15

    def arguments(self) -> dict[str, Any]:
        return {"customer": "acme", "ref": secrets.token_hex(6)}

    async def call(self, live: Live, door: str, tool: str, arguments: dict[str, Any]) -> Op:
        """One decision."""

        async def decided() -> None:
            if door in self.edges:
                await self._at_edge(live, door, {"tool": tool, "arguments": arguments})
            else:
                await live.task.call(tool, arguments, wait=0)

        op, _ = await self.ask("call", live.agent, door, decided, live.id, tool=tool)
        if not op.acknowledged:
            await asyncio.sleep(0.5)
        if not live.over and (OVER & set(op.more.get("reasons", ())) or "not an open task" in op.more.get("why", "")):
            live.over = time.monotonic()
        return op

    async def _at_edge(self, live: Live, door: str, body: Mapping[str, Any]) -> None:
        """The same request to an edge: the centre's token, and a proof for the edge's own address."""
        DOOR.set(self.replica())
        token = await live.task.access_token()
        DOOR.set(door)
        url = f"{self.edges[door]}/v1/tasks/{live.id}/calls"
        headers = {"Authorization": f"DPoP {token}", "DPoP": self.keys[live.agent].proof("POST", url, token)}
        answer = await self.http.post(url, json=body, headers=headers)
        if answer.status_code != 200:
            raise of_problem(answer.status_code, answer.json())
        found = answer.json()
        if found["decision"] == "hold":
            raise Held("held", approval=found["approval"]["id"], url="")
        if found["decision"] != "permit":
            raise Denied("denied", reasons=[reason["code"] for reason in found["why"]])

    async def _held(self, live: Live) -> None:
        """What a person must agree to; with the yes there are two who would use it at once."""
        arguments = self.arguments()
        for _ in range(6):
            if (await self.call(live, self.replica(), "pay", arguments)).said not in ("hold", "unknown"):
                break
            await asyncio.sleep(self.choose.uniform(0.3, 0.8))
        await asyncio.gather(*(self.call(live, self.replica(), "pay", arguments) for _ in range(2)))

    async def _credential(self, live: Live) -> None:
        async def issued() -> str:
            return (await live.task.credential("db"))["user"]

        await self.ask("credential", live.agent, self.replica(), issued, live.id)


async def main(plan: Mapping[str, Any]) -> None:
    """Until SIGTERM; what is asked then is answered first."""
    world = World(plan)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, world.stop.set)
    everybody = [world.agent(name, token) for name, token in plan["agents"].items()]
    everybody += people.everybody(world)
    try:
        await asyncio.gather(*everybody)
    finally:
        await world.http.aclose()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
