"""The estate: every edge, how far behind it is, what it holds, and what is wrong with it."""

from __future__ import annotations

import dataclasses
from typing import Any

from remit.domain.caller import Call
from remit.govern.estate import estate
from remit.web.house import Asked, House


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """The edges, those with something wrong first; and what is being rolled out to some of them."""
    head, _ = await house.env.in_force()
    edges = [dataclasses.asdict(one) for one in await estate(house.env, house.log, call.now)]
    return {
        "edges": sorted(edges, key=lambda one: (not one["warnings"], one["name"])),
        "catalogue": head.digest,
        "rollout": {"digest": head.rollout, "share": head.share} if head.rollout else None,
    }
