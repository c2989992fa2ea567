"""Who uses Remit: agents at work, people who approve, operators who revoke, freeze and apply, a witness of checkpoints.

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
import ssl
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from remit_client.aio import AsyncRemit, AsyncTask
from remit_client.errors import Denied, Held, RemitError, Unreachable

from . import catalogue
from .history import Op, Writer, now

DOOR: ContextVar[str] = ContextVar("door")
TRACE: ContextVar[str] = ContextVar("trace", default="")
PATIENCE = httpx.Timeout(6, connect=2)
STUBBORN = 5.0  # seconds that a task is still used after it was refused
AFTER = 8  # calls at each door, right after something was taken away


class Doors(httpx.AsyncBaseTransport):
    """Every request goes to the door that `DOOR` names, whatever name it was addressed to; TLS is for that name."""

    def __init__(self, doors: Mapping[str, str], ca: str) -> None:
        self._doors = doors
        self.copied: deque[tuple[str, httpx.Request]] = deque(maxlen=300)
        context = ssl.create_default_context(cafile=ca)
        self._inner = httpx.AsyncHTTPTransport(
            verify=context, limits=httpx.Limits(max_connections=400, max_keepalive_connections=100, keepalive_expiry=10)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host
        if request.url.path.endswith("/calls"):
            self.copied.append((TRACE.get(), httpx.Request(request.method, request.url, headers=request.headers.raw,
                                                           content=await request.aread())))  # fmt: skip
        request.url = request.url.copy_with(host=self._doors[DOOR.get()])
        request.extensions = {**request.extensions, "sni_hostname": name}
        if TRACE.get():
            request.headers["traceparent"] = f"00-{TRACE.get()}-{'1' * 16}-00"
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class Live:
    """A task somebody works on. `over` is when its agent first heard that it is over, by the one clock in seconds."""

    task: AsyncTask
    agent: str
    purpose: str
    over: float = 0.0
    held: list[dict[str, Any]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.task.id


class World:
    """Everybody, and what they are told."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.plan = plan
        self.choose = random.Random(plan["seed"])
        self.replicas = list(plan["replicas"])
        self.doors = Doors(plan["replicas"], plan["ca"])
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
            more["why"] = lost.code or lost.message[:120]
        except RemitError as refused:
            said, answered, more["why"] = "refused", now(), refused.code or refused.message[:120]
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
        await remit.prove()
        await asyncio.gather(*(self._tasks(remit, name) for _ in range(self.plan["at_once"])))

    async def _tasks(self, remit: AsyncRemit, name: str) -> None:
        while not self.stop.is_set():
            purpose = self.choose.choice(catalogue.PURPOSES)
            task = remit.propose(
                purpose, "look around", {"customer": "acme"}, "", self.choose.choice((20, 60, 300)),
                self.choose.choice((5, 20, 200)),
            )  # fmt: skip

            async def open_it(task: AsyncTask = task) -> AsyncTask:
                await task.open()
                return task

            more = {"agent": name, "purpose": purpose}
            op, _ = await self.ask("open", name, self._replica(), open_it, **more)
            if op.said != "ok":
                await asyncio.sleep(self.choose.uniform(0.2, 1.0))
                continue
            live = self.tasks[task.id] = Live(task, name, purpose)
            await asyncio.gather(*(self._work(live) for _ in range(2)))
            self.tasks.pop(live.id, None)

    async def _work(self, live: Live) -> None:
        """Until it was over for a while; now and then its agent ends it, and does not stop either."""
        while not self.stop.is_set() and not (live.over and time.monotonic() > live.over + STUBBORN):
            luck = self.choose.random()
            if luck < 0.70:
                await self.call(live, self._replica(), "look", self._arguments())
            elif luck < 0.80:
                await self.call(live, self._replica(), "write", self._arguments())
            elif luck < 0.88:
                await self._held(live)
            elif luck < 0.96:
                await self._credential(live)
            else:
                await self.ask("end", live.agent, self._replica(), lambda: self._end(live), live.id)
            await asyncio.sleep(self.choose.uniform(*self.plan["pause"]))

    async def _end(self, live: Live) -> None:
        if (await live.task.end(settled=False))["state"] == "open":
            raise Unreachable("It looked, and it was open.")

    def _replica(self) -> str:
        return self.choose.choice(self.replicas)

    def _arguments(self) -> dict[str, Any]:
        return {"customer": "acme", "ref": secrets.token_hex(6)}

    async def call(self, live: Live, door: str, tool: str, arguments: dict[str, Any]) -> Op:
        """One decision."""
        op, _ = await self.ask(
            "call", live.agent, door, lambda: live.task.call(tool, arguments, wait=0), live.id, tool=tool
        )
        if op.said in ("deny", "refused") and not live.over and op.more.get("reasons") != ("out_of_scope",):
            live.over = time.monotonic()
        return op

    async def _held(self, live: Live) -> None:
        """What a person must agree to; with the yes there are two who would use it at once."""
        arguments = self._arguments()
        for _ in range(6):
            if (await self.call(live, self._replica(), "pay", arguments)).said not in ("hold", "unknown"):
                break
            await asyncio.sleep(self.choose.uniform(0.3, 0.8))
        await asyncio.gather(*(self.call(live, self._replica(), "pay", arguments) for _ in range(2)))

    async def _credential(self, live: Live) -> None:
        async def issued() -> str:
            return (await live.task.credential("db"))["user"]

        await self.ask("credential", live.agent, self._replica(), issued, live.id)

    # --- people and operators ---

    async def http_as(self, who: str, method: str, path: str, body: Any = None) -> Any:
        """With somebody's key; an answer that is no success is a refusal, or no answer."""
        headers = {"Authorization": f"Bearer {self.plan['keys'][who]}"}
        answer = await self.http.request(method, self.plan["url"] + path, json=body, headers=headers)
        if answer.status_code >= 500 or answer.status_code == 429:
            raise Unreachable(f"{answer.status_code}", code=answer.text[:200])
        if answer.status_code >= 400:
            raise RemitError(f"{answer.status_code}", code=answer.text[:200])
        return answer.text if path.startswith("/log/") else answer.json()

    async def approver(self) -> None:
        """Frank reads what he is asked, and agrees mostly."""
        while not self.stop.is_set():
            DOOR.set(self._replica())
            TRACE.set("")
            pending: list[Any] = []
            with suppress(RemitError, httpx.HTTPError, ValueError, OSError):
                pending = (await self.http_as("frank", "GET", "/v1/approvals?state=pending&limit=50"))["items"]
            for one in self.choose.sample(pending, min(6, len(pending))):
                body = {"digest": one["digest"], "yes": self.choose.random() < 0.85}
                path = f"/v1/approvals/{one['id']}/answer"
                more = {"approval": one["id"], "yes": body["yes"]}
                await self.ask("answer", "frank", self._replica(),
                               lambda p=path, b=body: self.http_as("frank", "POST", p, b), one["task"], **more)  # fmt: skip
            await asyncio.sleep(0.4)

    async def revoker(self) -> None:
        """An operator ends tasks, and sees at every door whether that was true."""
        while not self.stop.is_set():
            await asyncio.sleep(self.choose.uniform(0.2, 1.2))
            open_ones = [live for live in self.tasks.values() if not live.over]
            if not open_ones:
                continue
            live = self.choose.choice(open_ones)
            op, _ = await self.ask("end", "operator", self._replica(),
                                   lambda i=live.id: self.http_as("operator", "POST", f"/v1/tasks/{i}/end", {"reason": "revoked"}), live.id)  # fmt: skip
            if op.acknowledged:
                await self._after([live])

    async def freezer(self) -> None:
        """An operator freezes an agent or a purpose, and lets it go again, all through one replica or another."""
        while not self.stop.is_set():
            await asyncio.sleep(self.choose.uniform(4, 12))
            agent = self.choose.random() < 0.6
            reach, name = ("agent", self.choose.choice(list(self.plan["agents"]))) if agent else ("purpose", "moving")
            body = {"reach": reach, "name": name, "reason": "looks odd"}
            op, _ = await self.ask("freeze", "operator", self._replica(),
                                   lambda b=body: self.http_as("operator", "POST", "/v1/freezes", b), reach=reach, name=name)  # fmt: skip
            if op.acknowledged:
                await self._after([one for one in self.tasks.values() if name in (one.agent, one.purpose)])
            await asyncio.sleep(self.choose.uniform(0.5, 3))
            for _ in range(60):  # an agent that stays frozen is of no use to anybody
                op, _ = await self.ask("unfreeze", "operator", self._replica(),
                                       lambda b=body: self.http_as("operator", "POST", "/v1/freezes/end", b), reach=reach, name=name)  # fmt: skip
                if op.acknowledged or self.stop.is_set():
                    break
                await asyncio.sleep(0.5)

    async def applier(self) -> None:
        """An operator applies a catalogue in which `moving` is another purpose than before."""
        number = 0
        while not self.stop.is_set():
            await asyncio.sleep(self.choose.uniform(5, 12))
            number += 1
            files = catalogue.files(list(self.plan["agents"]), number, self.plan["edges"])
            op, _ = await self.ask("apply", "operator", self._replica(),
                                   lambda f=files: self.http_as("operator", "POST", "/v1/catalogue", {"files": f}), number=number)  # fmt: skip
            if op.acknowledged:
                await self._after([one for one in self.tasks.values() if one.purpose == "moving"])

    async def _after(self, taken: list[Live]) -> None:
        async def one(live: Live, door: str) -> None:
            for _ in range(AFTER):
                await self.call(live, door, "look", self._arguments())

        await asyncio.gather(*(one(live, door) for live in taken[:3] for door in self.replicas))

    async def thief(self) -> None:
        """Somebody who copies requests on the way, and sends them again at any door, at once or half a minute later."""
        while not self.stop.is_set():
            await asyncio.sleep(self.choose.uniform(0.1, 0.6))
            taken = [one for one in self.doors.copied if one[0] in self.answered]
            if not taken:
                continue
            trace, copy = self.choose.choice(taken)

            async def again(copy: httpx.Request = copy) -> None:
                TRACE.set("")
                request = httpx.Request(copy.method, copy.url, headers=copy.headers.raw, content=copy.content)
                answer = await self.http.send(request)
                if answer.status_code >= 500:
                    raise Unreachable(str(answer.status_code))
                if answer.status_code >= 400:
                    raise RemitError(str(answer.status_code))

            await self.ask("replay", "thief", self._replica(), again, copy.url.path.split("/")[3], of=trace)

    async def witness(self) -> None:
        """Whoever keeps checkpoints finds out if history is ever rewritten."""
        while not self.stop.is_set():
            await asyncio.sleep(0.5)
            op, note = await self.ask("checkpoint", "anna", self._replica(),
                                      lambda: self.http_as("operator", "GET", "/log/checkpoint"))  # fmt: skip
            if op.said == "ok":
                self.history.write(Op("seen", "anna", op.door, op.sent, op.answered, "ok", more={"note": note}))


async def main(plan: Mapping[str, Any]) -> None:
    """Until SIGTERM; what is asked then is answered first."""
    world = World(plan)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, world.stop.set)
    everybody = [world.agent(name, token) for name, token in plan["agents"].items()]
    everybody += [
        world.approver(),
        world.revoker(),
        world.revoker(),
        world.freezer(),
        world.applier(),
        world.witness(),
        world.thief(),
    ]
    try:
        await asyncio.gather(*everybody)
    finally:
        await world.http.aclose()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
