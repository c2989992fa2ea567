"""What purposes could do without: what was used, what could go, the diff, and the replay that shows it."""

from __future__ import annotations

from typing import Any

from remit.domain.caller import Call
from remit.web import rightsize
from remit.web.house import Asked, House

QUERY = ("of", "days", "force")


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """`found` is None until a purpose or an agent is named."""
    _, force = await house.env.in_force()
    of = asked.query.get("of", "")
    return {
        "of": of,
        "days": asked.whole("days", 30, most=366),
        "force": asked.query.get("force", "") == "yes",
        "names": sorted({*force.catalogue.purposes, *force.catalogue.agents}),
        "found": await rightsize.found(house, call, asked) if of else None,
    }
