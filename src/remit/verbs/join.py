"""Join: an edge comes with a store of its own; and forget one that is gone for good."""

from __future__ import annotations

import re

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, Busy, Conflict, SeatLost
from remit.domain.estate import EdgeLog, EdgeSeat
from remit.domain.task import Task, TaskState
from remit.ports import Env

ROUNDS = 64
_SEAT = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")


async def join(env: Env, call: Call, seat: str) -> EdgeSeat:
    """This incarnation is here from now on, in place of the one that was; joining again is fine.

    `SeatLost` for one that was here before: what it held is closed, and it cannot know what happened since.
    """
    edge = call.caller.name
    if not _SEAT.match(seat):
        raise BadField("seat", "must be 16 to 64 letters, digits, '-' and '_'")
    for _ in range(ROUNDS):
        here = await env.store.get(EdgeSeat, edge)
        if here is not None and here.seat == seat:
            return here
        if await env.store.get(EdgeLog, f"{edge}/{seat}") is not None:
            raise SeatLost("This incarnation of the edge was replaced.", next_step="Begin with an empty store.")
        comes = EdgeSeat(edge, seat, call.now)
        change = Change(events.EdgeJoined(edge, seat, here.seat if here else ""), call).put(comes, was=here)
        try:
            await env.store.commit(change.put(EdgeLog(edge, seat, call.now), was=None))
        except Conflict:
            continue
        return comes
    raise Busy("Others join as this edge all the time.", next_step="Give each edge a key of its own.")


async def forget(env: Env, call: Call, edge: str, reason: str) -> int:
    """Nobody sits there any more, and every task it held ends; returns how many were open. A new incarnation may join.

    The seat is emptied first, so nothing is entrusted or reported meanwhile. What a crash leaves, doing it again ends.
    """
    here = await env.store.get(EdgeSeat, edge)
    if here is None:
        raise Absent(inside=f"edge {edge[:64]}")
    held = await _held(env, edge)
    if here.seat:
        because = events.EdgeForgotten(edge, here.seat, len(held), reason[:500])
        await env.store.commit(Change(because, call).put(EdgeSeat(edge, "", call.now), was=here))
    ended = 0
    for _ in range(ROUNDS):
        held = await _held(env, edge)
        if not held:
            env.nudge()
            return ended
        for task in held:
            how = TaskState.REVOKED
            because_of = events.TaskEnded(task.id, task.agent, how.value, f"edge {edge} was forgotten", task.home)
            change = Change(because_of, call).put(task.ended(how, call.now, because_of.reason), was=task)
            try:
                await env.store.commit(change)
            except Conflict:
                continue
            ended += 1
    raise Busy("Its tasks keep changing.", next_step="Try again at once.")


async def _held(env: Env, edge: str) -> list[Task]:
    found: list[Task] = []
    where = {"home": edge, "state": TaskState.OPEN.value}
    while page := await env.store.find(Task, where, after=found[-1].key if found else "", limit=1000):
        found += page
    return found
