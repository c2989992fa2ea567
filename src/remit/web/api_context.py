"""What open tasks are permitted in: what changed, and how far they have been decided again."""

from __future__ import annotations

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import BadField
from remit.domain.redecision import Redecision

from . import shapes_context as shapes
from .house import Asked, House
from .problems import json_response


async def redecisions(house: House, call: Call, asked: Asked) -> Response:
    """Changes after which open tasks are decided again, and how far that has got."""
    state = asked.query.get("lasts", "")
    if state not in ("", "yes", "no"):
        raise BadField("lasts", "must be yes or no")
    limit, where = asked.whole("limit", 100, most=500), {"lasts": state} if state else {}
    rows = await house.env.store.find(Redecision, where, after=asked.query.get("after", ""), limit=limit)
    following = rows[-1].id if rows and len(rows) == limit else ""
    return json_response({"items": [shapes.redecision(row, call.now) for row in rows], "next": following})
