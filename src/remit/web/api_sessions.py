"""People's sessions over the API, by key: make a sign-in link, see who is signed in, end it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import BadField
from remit.domain.session import ROLES, Session
from remit.verbs import sign_in, sign_out

from . import shapes
from .house import Asked, House
from .problems import json_response
from .sessions import link_url


async def link(house: House, call: Call, asked: Asked) -> Response:
    """A one-time link that signs somebody in to the console; its text is in this answer and nowhere else."""
    wanted = asked.json(shapes.LinkRequest)
    known = {role.value: role for role in ROLES}
    if not set(wanted.roles) <= known.keys():
        raise BadField("roles", "must be some of person, operator and auditor")
    roles = tuple(known[role] for role in wanted.roles) or (CallerKind.PERSON if wanted.name else call.caller.kind,)
    text, row = await sign_in.link(house.env, call, wanted.name or call.caller.name, roles)
    shown = {"name": row.name, "roles": [role.value for role in row.roles], "expires_at": row.expires_at}
    return json_response({"url": link_url(house, text), **shown}, 201)


async def list_sessions(house: House, call: Call, asked: Asked) -> Response:
    """Who is signed in; a person sees their own."""
    own = {"name": call.caller.name} if call.caller.kind is CallerKind.PERSON else {}
    limit = asked.whole("limit", 100, most=500)
    where = {"state": "open", **own}
    rows = await house.env.store.find(Session, where, after=asked.query.get("after", ""), limit=limit)
    _, force = await house.env.in_force()
    good = [shown(row) for row in rows if row.good_at(call.now) and row.stands(force.catalogue)]
    return json_response({"items": good, "next": rows[-1].key if rows and len(rows) == limit else ""})


async def end(house: House, call: Call, asked: Asked) -> Response:
    """Sign somebody out."""
    reason = asked.json(shapes.ReasonRequest).reason
    return json_response(shown(await sign_out.end(house.env, call, asked.path["session"], reason)))


def shown(row: Session) -> dict[str, Any]:
    """A session, by the digest that it is kept under; its cookie is nobody's to see."""
    names = ("name", "began_at", "seen_at", "expires_at", "ended_at", "end_reason")
    roles = [role.value for role in row.roles]
    return {"id": row.digest, "roles": roles, "way": row.way, **{name: getattr(row, name) for name in names}}
