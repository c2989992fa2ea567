"""Freeze: one red button, and how far it has reached, in milliseconds, to zero."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import BadField
from remit.domain.freeze import Reach
from remit.verbs import freeze as verb
from remit.web.api_freeze import freezes
from remit.web.house import Asked, House

from .page import fields, onward


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """What is frozen, what still lives below it, and what the caller may freeze."""
    _, force = await house.env.in_force()
    agents, purposes, people = force.catalogue.agents, force.catalogue.purposes, force.catalogue.people
    name, everything = call.caller.name, call.caller.kind is CallerKind.OPERATOR
    owners = {a.owner for a in agents.values()} | {p.owner for p in purposes.values()}
    may = {
        "agent": sorted(a.name for a in agents.values() if everything or a.owner == name),
        "purpose": sorted(p.name for p in purposes.values() if everything or p.owner == name),
        "tool": sorted(force.catalogue.tools) if everything else [],
        "secret": sorted({name for p in purposes.values() for name in p.secrets}) if everything else [],
        "environment": sorted(force.catalogue.environments) if everything else [],
        "owner": sorted(p for p in people if p in owners and (everything or p == name)),
        "everything": [""] if everything else [],
    }
    return {"items": await freezes(house, call), "may": may, "you": str(call.caller), "operator": everything}


async def freeze(house: House, call: Call, asked: Asked) -> Response:
    """Stop it: nothing below it is permitted from here on."""
    given = fields(asked)
    await verb.freeze(house.env, call, *_target(given), given.get("reason", ""))
    return onward("/console/freeze")


async def unfreeze(house: House, call: Call, asked: Asked) -> Response:
    """Let it act again, in new tasks."""
    given = fields(asked)
    await verb.unfreeze(house.env, call, *_target(given), given.get("reason", ""))
    return onward("/console/freeze")


def _target(given: dict[str, str]) -> tuple[Reach, str]:
    """`agent bot`, or `everything`."""
    reach, _, name = given.get("what", "").partition(" ")
    if reach not in [one.value for one in Reach]:
        raise BadField("what", "choose what to freeze")
    return Reach(reach), name
