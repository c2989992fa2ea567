"""Now: what needs you, what is open, what is live, what was denied, and whether issuers answer."""

from __future__ import annotations

from typing import Any

from remit.domain.caller import Call, CallerKind
from remit.domain.lease import IssuerOutage, LeaseState
from remit.domain.redecision import Redecision
from remit.web import shapes, shapes_approvals, shapes_context
from remit.web.api_freeze import freezes
from remit.web.house import Asked, House

from . import reviews, seen

SHOWN = 8


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """Counts stop at a thousand; each has a page that lists what it counts."""
    open_tasks = await seen.open_tasks(house, call)
    mine = {task.id for task in open_tasks}
    waiting = await seen.pending(house, call)
    yours = [row for row in waiting if seen.waits_for(row, call)]
    live = await seen.leases(house, call, LeaseState.LIVE, mine)
    ending = await seen.leases(house, call, LeaseState.ENDING, mine)
    return {
        "yours": [shapes_approvals.approval(row) for row in yours[:SHOWN]],
        "counts": {
            "yours": len(yours),
            "held": len(waiting),
            "open": len(open_tasks),
            "live": len(live),
            "ending": len(ending),
        },
        "reviews": len(await reviews.waiting(house, call, reviews.name_of(call, asked))),
        "tasks": [shapes.task(task) for task in open_tasks[:SHOWN]],
        "denied": await seen.denied(house, call, SHOWN),
        "issuers": await _issuers(house, call),
        "frozen": await freezes(house, call),
        "redecided": await _redecided(house, call),
    }


async def _redecided(house: House, call: Call) -> list[dict[str, Any]]:
    """Changes that have not reached every open task yet; for operators and auditors."""
    if call.caller.kind is CallerKind.PERSON:
        return []
    rows = await house.env.store.find(Redecision, {"lasts": "yes"}, limit=SHOWN)
    return [shapes_context.redecision(row, call.now) for row in rows]


async def _issuers(house: House, call: Call) -> list[dict[str, Any]]:
    """Every configured issuer; for operators and auditors."""
    if call.caller.kind is CallerKind.PERSON:
        return []
    _, force = await house.env.in_force()
    down = {
        row.issuer: row.since for row in await house.env.store.find(IssuerOutage, {}, limit=1000) if not row.over_at
    }
    return [
        {"name": name, "kind": issuer.kind, "down_since": down.get(name, 0)}
        for name, issuer in sorted(force.catalogue.issuers.items())
    ]
