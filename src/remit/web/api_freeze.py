"""Stop, and see how far it has reached."""

from __future__ import annotations

from dataclasses import asdict

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import BadField
from remit.domain.freeze import Freeze, Reach
from remit.domain.restore import Restored
from remit.verbs import freeze as verb

from . import shapes_approvals as shapes
from .house import Asked, House
from .problems import json_response


async def list_freezes(house: House, call: Call, asked: Asked) -> Response:
    """What is frozen, and what still lives below each, counting down to zero; and the newest restore of the store."""
    found: dict[str, object] = {"items": await freezes(house, call), "next": ""}
    row = await house.env.store.get(Restored, "restored")
    if row is not None and call.caller.kind is not CallerKind.PERSON:
        found["restore"] = {**asdict(row), "lost": row.lost, "finished": bool(row.swept_at)}
    return json_response(found)


async def freezes(house: House, call: Call) -> list[dict[str, object]]:
    """What is frozen, as far as it concerns the caller."""
    frozen = await house.env.frozen()
    person = call.caller.kind is CallerKind.PERSON
    seen = [one for one in frozen.freezes if not person or await _concerns(house, call, one)]
    return [await _shown(house, one) for one in seen]


async def freeze(house: House, call: Call, asked: Asked) -> Response:
    """Freeze an agent, a purpose, a tool, a secret, an environment, an owner's estate, or everything."""
    wanted = asked.json(shapes.FreezeRequest)
    found = await verb.freeze(house.env, call, _reach(wanted), wanted.name, wanted.reason)
    return json_response(await _shown(house, found), 201)


async def unfreeze(house: House, call: Call, asked: Asked) -> Response:
    """Let it act again."""
    wanted = asked.json(shapes.FreezeRequest)
    found = await verb.unfreeze(house.env, call, _reach(wanted), wanted.name, wanted.reason)
    return json_response({"reach": found.reach.value, "name": found.name, "frozen_ms": call.now - found.since})


def _reach(wanted: shapes.FreezeRequest) -> Reach:
    if wanted.reach not in [one.value for one in Reach]:
        raise BadField("reach", f"must be one of {', '.join(one.value for one in Reach)}")
    return Reach(wanted.reach)


async def _shown(house: House, found: Freeze) -> dict[str, object]:
    if found.reached_at:
        return shapes.freeze(found, 0, 0, house.clock())
    left = await verb.below(house.env, found)
    return shapes.freeze(found, len(left.tasks), left.credentials, house.clock())


async def _concerns(house: House, call: Call, one: Freeze) -> bool:
    """A person sees what they froze, and what stops what they answer for."""
    _, force = await house.env.in_force()
    mine = [a for a in force.catalogue.agents.values() if a.owner == call.caller.name]
    purposes = [p for p in force.catalogue.purposes.values() if p.owner == call.caller.name]
    return (
        one.by == str(call.caller)
        or any(one.stops(agent, None) for agent in mine)
        or any(one.stops(None, purpose) for purpose in purposes)
    )
