"""A revision of the catalogue that some of the edges have before the others."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.catalogue import CatalogueHead
from remit.verbs import apply as verb

from . import shapes
from .house import Asked, House
from .problems import json_response


async def show(house: House, call: Call, asked: Asked) -> Response:
    """What is rolled out, and which edges have it."""
    head, _ = await house.env.in_force()
    return json_response(await _shown(house, head))


async def begin(house: House, call: Call, asked: Asked) -> Response:
    """Put these files in force at a share of the edges."""
    wanted = asked.json(shapes.RolloutRequest)
    head, found = await verb.roll_out(house.env, call, wanted.files, wanted.share)
    return json_response({**await _shown(house, head), "changes": found.changes})


async def share(house: House, call: Call, asked: Asked) -> Response:
    """Let more of the edges have it, or fewer."""
    head = await verb.set_share(house.env, call, asked.json(shapes.ShareRequest).share)
    return json_response(await _shown(house, head))


async def finish(house: House, call: Call, asked: Asked) -> Response:
    """In force everywhere."""
    return json_response(await _shown(house, await verb.finish(house.env, call)))


async def back(house: House, call: Call, asked: Asked) -> Response:
    """In force nowhere any more."""
    reason = asked.json(shapes.ReasonRequest).reason
    return json_response(await _shown(house, await verb.take_back(house.env, call, reason)))


async def _shown(house: House, head: CatalogueHead) -> dict[str, Any]:
    _, force = await house.env.in_force()
    names = sorted(force.catalogue.edges)
    have = [name for name in names if head.share and head.at(name) == head.rollout]
    shown = {name: getattr(head, name) for name in ("digest", "number", "rollout", "share")}
    return {**shown, "edges": have, "of": len(names)}
