"""What scans have found, what is known of it here, and taking it out of use."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import Absent, BadField
from remit.domain.finding import Finding
from remit.domain.leak import Live, Seen
from remit.formats import base64url
from remit.verbs import contain as contain_verb
from remit.verbs import recognise as recognise_verb

from . import shapes_context as shapes
from .house import Asked, House
from .problems import json_response

_LIVE = {one.value: one for one in Live}


async def scan_key(house: House, call: Call, asked: Asked) -> Response:
    """What secrets are digested under before they are reported."""
    return json_response({"key": base64url.encode(house.env.scan_key)})


async def take(house: House, call: Call, asked: Asked) -> Response:
    """Take what a scan found. The answer is the same whatever of it is known here, and comes as soon."""
    wanted = asked.json(shapes.ScanRequest).seen
    row = await recognise_verb.take(house.env, call, [_seen(house, place, one) for place, one in enumerate(wanted)])
    return json_response({"id": row.id, "taken": len(wanted)}, 201)


def _seen(house: House, place: int, one: shapes.SeenRequest) -> Seen:
    if one.live not in _LIVE:
        raise BadField(f"seen[{place}].live", f"must be {', '.join(_LIVE)}")
    return Seen(house.env.print_of(one.digest), one.rule, one.place, _LIVE[one.live])


async def show(house: House, call: Call, asked: Asked) -> Response:
    """One finding, and whether what leaked is still good."""
    return json_response(await shown(house, call, await finding_of(house, call, asked)))


async def contain(house: House, call: Call, asked: Asked) -> Response:
    """Take what leaked out of use; what cannot be undone waits for somebody else's yes."""
    wanted = asked.json(shapes.ContainRequest)
    row = await contain_verb.contain(house.env, call, asked.path["finding"], wanted.reason, agent=wanted.agent)
    return json_response(await shown(house, call, row))


async def finding_of(house: House, call: Call, asked: Asked) -> Finding:
    """The finding of the path; the same `Absent` for what is not there and what is not theirs."""
    row = await house.env.store.get(Finding, asked.path["finding"])
    _, force = await house.env.in_force()
    person = call.caller.kind is CallerKind.PERSON
    if row is None or (person and not await contain_verb.may(house.env, call.caller, row, force.catalogue)):
        raise Absent(inside=f"finding {asked.path['finding']} for {call.caller}")
    return row


async def shown(house: House, call: Call, row: Finding) -> dict[str, Any]:
    """A finding with what is known of it now."""
    return {**shapes.finding(row), "live": (await contain_verb.live(house.env, row, call.now)).value}
