"""Events for those who fetch them (RFC 8936), and the streams for operators."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import Absent, Busy, Conflict, WrongState
from remit.domain.signal import SecurityEvent
from remit.domain.stream import WINDOW, Receiver, Stream, StreamState
from remit.govern.outward import signed, waiting
from remit.verbs import stream as verb

from .house import Asked, House
from .problems import json_response
from .shapes_signals import PollRequest

MOST = 50
LONG = 20.0
LOOK = 0.1
ROUNDS = 16


async def poll(house: House, call: Call, asked: Asked) -> Response:
    """POST /ssf/poll/{stream}: what was acknowledged is done with, and what is left is given again."""
    said = asked.json(PollRequest)
    receiver, row, found, end = await _taken(house, call, asked.path["stream"], said)
    most = min(said.max_events, MOST)
    until = asyncio.get_running_loop().time() + LONG
    while most and not found and not said.return_immediately and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(LOOK)
        receiver, row = await verb.stream_of(house.env, call, row.id)
        found, end = await waiting(house.env, house.log, row, receiver, start=end, limit=MOST)
    given = found[:most] if row.state is StreamState.ENABLED else []
    sets = {event.jti: signed(house.env, receiver, place, event) for place, event in given}
    return json_response({"sets": sets, "moreAvailable": bool(given) and len(found) > len(given)})


async def _taken(
    house: House, call: Call, stream_id: str, said: PollRequest
) -> tuple[Receiver, Stream, list[tuple[int, SecurityEvent]], int]:
    for _ in range(ROUNDS):
        receiver, row = await verb.stream_of(house.env, call, stream_id)
        if row.url:
            raise WrongState("The events of this stream are pushed.")
        await verb.heard(house.env, call, row)
        receiver, row = await verb.stream_of(house.env, call, stream_id)
        found, end = await waiting(house.env, house.log, row, receiver, start=row.position, limit=WINDOW)
        places = {event.jti: place for place, event in found}
        done = [places[jti] for jti in said.ack if jti in places]
        returned = {places[jti]: error.err for jti, error in said.set_errs.items() if jti in places}
        try:
            row = await verb.acknowledge(house.env, call, row, done, returned, list(places.values()), end)
        except Conflict:
            continue
        left = [(place, event) for place, event in found if place >= row.position and place not in row.acked]
        return receiver, row, left, end
    raise Busy("The stream keeps changing.", next_step="Poll again.")


async def list_streams(house: House, call: Call, asked: Asked) -> Response:
    """Every stream there is, for operators and auditors."""
    rows = await house.env.store.find(Stream, {}, limit=1000)
    size, _ = await house.log.head()
    return json_response({"items": [_row(row, size) for row in rows if row.open], "next": ""})


async def show_stream(house: House, call: Call, asked: Asked) -> Response:
    """The stream of one receiver."""
    row = await house.env.store.get(Stream, asked.path["receiver"])
    if row is None or not row.open:
        raise Absent(inside="no such stream")
    size, _ = await house.log.head()
    return json_response(_row(row, size))


def _row(row: Stream, size: int) -> dict[str, Any]:
    names = ("receiver", "id", "made_at", "position", "url", "description", "reason", "attempts", "failing", "due")
    return {
        **{name: getattr(row, name) for name in (*names, "error", "heard_at", "verified_at")},
        "state": row.state.value,
        "delivery": "push" if row.url else "poll",
        "kinds": list(row.kinds),
        "behind": size - row.position,
        "unwanted": len(row.unwanted),
    }
