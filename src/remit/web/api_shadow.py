"""What was seen and nobody registered: enforcement points say what they saw, and operators look at it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated, Any

from msgspec import Meta
from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import Absent, BadField
from remit.domain.shadow import Dismissal, Shadow, ShadowKind, Sighting, unregistered
from remit.verbs import dismiss as dismiss_verb

from .house import Asked, House
from .problems import json_response
from .shapes import Strict
from .shapes_context import NoteRequest

_Text = Annotated[str, Meta(min_length=1, max_length=200)]


class ShadowsRequest(Strict, frozen=True):
    """What an enforcement point saw: `tools` that the MCP server `source` offers, or `callers` that it refused."""

    source: _Text
    tools: Annotated[tuple[_Text, ...], Meta(max_length=200)] = ()
    callers: Annotated[tuple[_Text, ...], Meta(max_length=20)] = ()


async def report(house: House, call: Call, asked: Asked) -> Response:
    """Take it in; what the catalogue knows is dropped."""
    wanted = asked.json(ShadowsRequest)
    for kind, names in ((ShadowKind.TOOL, wanted.tools), (ShadowKind.CALLER, wanted.callers)):
        for name in names:
            house.shadows.saw(Sighting(kind, name, wanted.source, str(call.caller)))
    return Response(status_code=204)


async def list_shadows(house: House, call: Call, asked: Asked) -> Response:
    """The newest first. `?state=all` has those that were dismissed, too."""
    state, after = asked.query.get("state", ""), asked.query.get("after", "")
    if state not in ("", "all"):
        raise BadField("state", "must be all, or be left out")
    limit, last, following = asked.whole("limit", 100, most=500), _cursor(after), ""
    found = [one for one in await shadows(house, state) if (-one[0].last_at, one[0].id) > last]
    if 0 < limit < len(found):
        following = f"{found[limit - 1][0].last_at} {found[limit - 1][0].id}"
    return json_response({"items": [shown(*one) for one in found[:limit]], "next": following})


def _cursor(after: str) -> tuple[float, str]:
    at, _, id_ = after.partition(" ")
    if after and not (at.isdecimal() and at.isascii() and len(at) < 20):
        raise BadField("after", "must be what `next` said")
    return (-int(at), id_) if after else (-math.inf, "")


async def show_shadow(house: House, call: Call, asked: Asked) -> Response:
    """One of them."""
    one = await _found(house, asked.path["shadow"])
    return json_response(shown(one, await house.env.store.get(Dismissal, one.id)))


async def dismiss(house: House, call: Call, asked: Asked) -> Response:
    """It need not be shown any more."""
    one, gone = await dismissed(house, call, asked, asked.json(NoteRequest).note)
    return json_response(shown(one, gone))


async def dismissed(house: House, call: Call, asked: Asked, note: str) -> tuple[Shadow, Dismissal]:
    """The shadow of this path, and who dismissed it."""
    one = await _found(house, asked.path["shadow"])
    return one, await dismiss_verb.dismiss(house.env, call, one, note)


async def shadows(house: House, state: str = "") -> list[tuple[Shadow, Dismissal | None]]:
    """What nobody registered, by the catalogue in force, nor dismissed; all of it if the state is `all`."""
    _, force = await house.env.in_force()
    rows = unregistered(await house.log.shadows(), force.catalogue)
    gone = await _dismissals(house)
    return [(one, gone.get(one.id)) for one in rows if state or one.id not in gone]


async def _dismissals(house: House) -> dict[str, Dismissal]:
    found: dict[str, Dismissal] = {}
    while page := await house.env.store.find(Dismissal, {}, after=max(found, default=""), limit=1000):
        found |= {row.id: row for row in page}
    return found


async def _found(house: House, id_: str) -> Shadow:
    found = next((one for one in await house.log.shadows() if one.id == id_), None)
    if found is None:
        raise Absent(inside=f"shadow {id_[:100]}")
    return found


def shown(one: Shadow, gone: Dismissal | None) -> dict[str, Any]:
    """As the API and the console show it."""
    at, by, note = (gone.dismissed_at, gone.dismissed_by, gone.note) if gone else (0, "", "")
    return {**asdict(one), "kind": one.kind.value, "dismissed_at": at, "dismissed_by": by, "note": note}
