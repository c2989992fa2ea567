"""Who else uses Remit: somebody who approves, operators who revoke, freeze and apply, a witness, and a thief."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx

from remit_client.errors import RemitError, Unreachable

from . import catalogue
from .door import DOOR, TRACE
from .history import Op

if TYPE_CHECKING:
    from .workload import Live, World

AFTER = 8  # calls at each door, right after something was taken away


def everybody(world: World) -> list[Coroutine[Any, Any, None]]:
    """Until the world stops."""
    alone = [one(world) for one in (approver, freezer, applier, witness, thief)]
    return [*alone, revoker(world), *(revoker(world, edge) for edge in world.edges)]


async def http_as(world: World, who: str, method: str, path: str, body: Any = None) -> Any:
    """With somebody's key; an answer that is no success is a refusal, or no answer."""
    headers = {"Authorization": f"Bearer {world.plan['keys'][who]}"}
    answer = await world.http.request(method, world.plan["url"] + path, json=body, headers=headers)
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Unreachable(f"{answer.status_code}", code=answer.text[:200])
    if answer.status_code >= 400:
        raise RemitError(f"{answer.status_code}", code=answer.text[:200])
    return answer.text if path.startswith("/log/") else answer.json()


async def approver(world: World) -> None:
    """Frank reads what he is asked, and agrees mostly."""
    while not world.stop.is_set():
        DOOR.set(world.replica())
        TRACE.set("")
        pending: list[Any] = []
        with suppress(RemitError, httpx.HTTPError, ValueError, OSError):
            pending = (await http_as(world, "frank", "GET", "/v1/approvals?state=pending&limit=50"))["items"]
        for one in world.choose.sample(pending, min(6, len(pending))):
            body = {"digest": one["digest"], "yes": world.choose.random() < 0.85}
            path = f"/v1/approvals/{one['id']}/answer"
            more = {"approval": one["id"], "yes": body["yes"]}
            await world.ask("answer", "frank", world.replica(),
                           lambda p=path, b=body: http_as(world, "frank", "POST", p, b), one["task"], **more)  # fmt: skip
        await asyncio.sleep(0.4)


async def revoker(world: World, edge: str = "") -> None:
    """An operator ends tasks, or those near this edge, and sees at every door whether that was true."""
    while not world.stop.is_set():
        await asyncio.sleep(world.choose.uniform(0.3, 2.0))
        open_ones = [live for live in world.tasks.values() if not live.over and edge in ("", live.near)]
        if not open_ones:
            continue
        live = world.choose.choice(open_ones)
        op, _ = await world.ask("end", "operator", world.replica(),
                               lambda i=live.id: http_as(world, "operator", "POST", f"/v1/tasks/{i}/end", {"reason": "revoked"}), live.id)  # fmt: skip
        if op.acknowledged:
            await after(world, [live])


async def freezer(world: World) -> None:
    """An operator freezes an agent or a purpose, and lets it go again, all through one replica or another."""
    while not world.stop.is_set():
        await asyncio.sleep(world.choose.uniform(4, 12))
        agent = world.choose.random() < 0.6
        reach, name = (
            ("agent", world.choose.choice([name for name in world.plan["agents"] if name != catalogue.STEADY]))
            if agent
            else ("purpose", "moving")
        )
        body = {"reach": reach, "name": name, "reason": "looks odd"}
        op, _ = await world.ask("freeze", "operator", world.replica(),
                               lambda b=body: http_as(world, "operator", "POST", "/v1/freezes", b), reach=reach, name=name)  # fmt: skip
        if op.acknowledged:
            await after(world, [one for one in world.tasks.values() if name in (one.agent, one.purpose)])
        await asyncio.sleep(world.choose.uniform(0.5, 3))
        for _ in range(60):  # an agent that stays frozen is of no use to anybody
            op, _ = await world.ask("unfreeze", "operator", world.replica(),
                                   lambda b=body: http_as(world, "operator", "POST", "/v1/freezes/end", b), reach=reach, name=name)  # fmt: skip
            if op.acknowledged or world.stop.is_set():
                break
            await asyncio.sleep(0.5)


async def applier(world: World) -> None:
    """An operator applies a catalogue in which `moving` is another purpose than before."""
    number = 0
    while not world.stop.is_set():
        await asyncio.sleep(world.choose.uniform(5, 12))
        number += 1
        files = catalogue.files(list(world.plan["agents"]), number, world.plan["edges"])
        op, _ = await world.ask("apply", "operator", world.replica(),
                               lambda f=files: http_as(world, "operator", "POST", "/v1/catalogue", {"files": f}), number=number)  # fmt: skip
        if op.acknowledged:
            await after(world, [one for one in world.tasks.values() if one.purpose == "moving"])


async def after(world: World, taken: list[Live]) -> None:
    async def one(live: Live, door: str) -> None:
        for _ in range(AFTER):
            await world.call(live, door, "look", world.arguments())
            await asyncio.sleep(0.5 if door in world.edges else 0)  # past its bound

    await asyncio.gather(
        *(one(live, door) for live in taken[:3] for door in (*world.replicas, *filter(None, [live.near])))
    )


async def thief(world: World) -> None:
    """Somebody who copies requests on the way, and sends them again: at once, or when a clock that is behind would take
    them; what was for an edge to that edge, anything else at any replica.
    """
    while not world.stop.is_set():
        await asyncio.sleep(world.choose.uniform(0.1, 0.5))
        copies = world.doors.copied
        last = len(copies) if world.choose.random() < 0.5 else min(len(copies), 100)
        if not copies:
            continue
        trace, door, copy = copies[-world.choose.randint(1, last)]
        if trace not in world.answered:
            continue

        async def again(copy: httpx.Request = copy) -> None:
            TRACE.set("")
            request = httpx.Request(copy.method, copy.url, headers=copy.headers.raw, content=copy.content)
            answer = await world.http.send(request)
            if answer.status_code >= 500:
                raise Unreachable(str(answer.status_code))
            if answer.status_code >= 400:
                raise RemitError(str(answer.status_code))

        task = copy.url.path.split("/")[3]
        await world.ask("replay", "thief", door if door in world.edges else world.replica(), again, task, of=trace)


async def witness(world: World) -> None:
    """Whoever keeps checkpoints finds out if history is ever rewritten."""
    while not world.stop.is_set():
        await asyncio.sleep(0.5)
        op, note = await world.ask("checkpoint", "anna", world.replica(),
                                  lambda: http_as(world, "operator", "GET", "/log/checkpoint"))  # fmt: skip
        if op.said == "ok":
            world.history.write(Op("seen", "anna", op.door, op.sent, op.answered, "ok", more={"note": note}))
