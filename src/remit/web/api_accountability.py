"""Who answers for what nobody answers for: whom it is asked of, and taking it over."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.catalogue import CatalogueHead
from remit.domain.errors import BadField
from remit.domain.freeze import Reach
from remit.domain.identity import Person
from remit.domain.succession import Succession
from remit.verbs import succeed as verb

from . import shapes_accountability as shapes
from .house import Asked, House
from .problems import json_response


async def list_successions(house: House, call: Call, asked: Asked) -> Response:
    """What somebody is asked to take over, or took over, as far as it concerns the caller."""
    return json_response({"items": await successions(house, call), "next": ""})


async def successions(house: House, call: Call) -> list[dict[str, Any]]:
    """Those that wait first, the soonest to stop before others."""
    head, force = await house.env.in_force()
    person = force.catalogue.person(call.caller)
    rows = sorted((await house.env.successions()).values(), key=lambda row: (not row.waits, row.until, row.key))
    return [_shown(row, head, call, person) for row in rows if _concerns(row, call, person)]


async def accept(house: House, call: Call, asked: Asked) -> Response:
    """The caller answers for it from here on."""
    shown = asked.json(shapes.AcceptRequest).digest
    row = await verb.succeed(house.env, call, reach(asked.path["reach"]), asked.path["name"], shown)
    return json_response(shapes.succession(row, call.now))


def reach(word: str) -> Reach:
    """What can be taken over."""
    if word not in (Reach.AGENT.value, Reach.PURPOSE.value):
        raise BadField("reach", "must be agent or purpose")
    return Reach(word)


def _concerns(row: Succession, call: Call, person: Person | None) -> bool:
    if call.caller.kind is not CallerKind.PERSON:
        return True
    return person is not None and (row.may_take(person) or person.name in (row.owner, row.heir))


def _shown(row: Succession, head: CatalogueHead, call: Call, person: Person | None) -> dict[str, Any]:
    yours = call.caller.kind is CallerKind.PERSON and person is not None and row.waits and row.may_take(person)
    return {**shapes.succession(row, call.now), "digest": verb.digest(row, head), "yours": yours}
