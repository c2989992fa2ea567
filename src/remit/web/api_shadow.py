"""What was seen and nobody registered: enforcement points say what they saw, and operators look at it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from msgspec import Meta
from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import Absent, BadField
from remit.domain.shadow import Dismissal, Shadow, ShadowKind, Sighting, registered
from remit.verbs import dismiss as dismiss_verb

from .house import Asked, House
from .problems import json_response
from .shapes import Strict
from .shapes_context import NoteRequest

_Text = Annotated[str, Meta(min_length=1, max_length=200)]


class SeenRequest(Strict, frozen=True):
    """What an enforcement point saw: `tools` that the MCP server `source` offers, or `callers` that it refused."""

    source: _Text
    tools: Annotated[tuple[_Text, ...], Meta(max_length=200)] = ()
    callers: Annotated[tuple[_Text, ...], Meta(max_length=20)] = ()


async def report(house: House, call: Call, asked: Asked) -> Response:
    """Take it in; what the catalogue knows is dropped."""
    wanted = asked.json(SeenRequest)
    for kind, names in ((ShadowKind.TOOL, wanted.tools), (ShadowKind.CALLER, wanted.callers)):
        for name in names:
            house.shadows.saw(Sighting(kind, name, wanted.source))
    return Response(status_code=204)


async def list_shadows(house: House, call: Call, asked: Asked) -> Response:
    """The newest first. `?state=all` has those that were dismissed, too."""
    state = asked.query.get("state", "")
    if state not in ("", "all"):
        raise BadField("state", "must be all, or be left out")
    return json_response({"items": await shadows(house, dismissed=bool(state)), "next": ""})


async def show_shadow(house: House, call: Call, asked: Asked) -> Response:
    """One of them."""
    return json_response(await _shown(house, await _found(house, asked.path["shadow"])))


async def dismiss(house: House, call: Call, asked: Asked) -> Response:
    """It need not be shown any more."""
    note = asked.json(NoteRequest).note
    shadow = await _found(house, asked.path["shadow"])
    await dismiss_verb.dismiss(house.env, call, shadow, note[:1000])
    return json_response(await _shown(house, shadow))


async def shadows(house: House, *, dismissed: bool = False) -> list[dict[str, Any]]:
    """What nobody registered, by the catalogue in force."""
    _, force = await house.env.in_force()
    rows = [one for one in await house.log.shadows() if not registered(one, force.catalogue)]
    found = [await _shown(house, one) for one in rows]
    return [one for one in found if dismissed or not one["dismissed_at"]]


async def _found(house: House, id_: str) -> Shadow:
    found = next((one for one in await house.log.shadows() if one.id == id_), None)
    if found is None:
        raise Absent(inside=f"shadow {id_[:100]}")
    return found


async def _shown(house: House, one: Shadow) -> dict[str, Any]:
    gone = await house.env.store.get(Dismissal, one.id)
    said = {"dismissed_at": gone.dismissed_at, "dismissed_by": gone.dismissed_by, "note": gone.note} if gone else {}
    none = {"dismissed_at": 0, "dismissed_by": "", "note": ""}
    return {**asdict(one), "kind": one.kind.value, **none, **said}
