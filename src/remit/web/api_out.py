"""Where the log goes: sinks and witnesses, how far each has come, and a sink's pause, resume and rewind."""

from __future__ import annotations

from dataclasses import asdict

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import Absent
from remit.domain.out import OutState
from remit.govern.out import sinks, witnesses
from remit.verbs import out as verb

from . import shapes
from .house import Asked, House
from .problems import json_response


async def list_sinks(house: House, call: Call, asked: Asked) -> Response:
    """Every sink of the log: how far behind it is, and what keeps it."""
    found = await sinks(house.env, house.log, call.now)
    return json_response({"items": [asdict(one) for one in found], "next": ""})


async def show_sink(house: House, call: Call, asked: Asked) -> Response:
    """One sink."""
    return await _shown(house, call, asked.path["sink"])


async def pause(house: House, call: Call, asked: Asked) -> Response:
    """Send it nothing for now; nothing is lost."""
    await verb.turn(house.env, call, asked.path["sink"], OutState.PAUSED, asked.json(shapes.ReasonRequest).reason)
    return await _shown(house, call, asked.path["sink"])


async def resume(house: House, call: Call, asked: Asked) -> Response:
    """Go on where it stopped."""
    await verb.turn(house.env, call, asked.path["sink"], OutState.RUNNING, asked.json(shapes.ReasonRequest).reason)
    return await _shown(house, call, asked.path["sink"])


async def rewind(house: House, call: Call, asked: Asked) -> Response:
    """Send everything from a place of the log on, again if it had it."""
    wanted, (size, _) = asked.json(shapes.RewindRequest), await house.log.head()
    await verb.rewind(house.env, call, asked.path["sink"], wanted.place, wanted.reason, size)
    return await _shown(house, call, asked.path["sink"])


async def list_witnesses(house: House, call: Call, asked: Asked) -> Response:
    """Every witness of the log: what it has cosigned last, and whether it refuses."""
    return json_response({"items": [asdict(one) for one in await witnesses(house.env, house.log)], "next": ""})


async def _shown(house: House, call: Call, name: str) -> Response:
    for one in await sinks(house.env, house.log, call.now):
        if one.name == name:
            return json_response(asdict(one))
    raise Absent(inside=f"sink {name[:64]}")
