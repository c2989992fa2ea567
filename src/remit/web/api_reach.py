"""Who can reach what: questions about the graph, and what is imported into it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from remit.discover.catalogue_graph import KINDS
from remit.discover.cuts import NoCuts
from remit.discover.radius import Radius, cuts
from remit.discover.reach_change import ReachChange, change
from remit.discover.words import kind_of
from remit.domain.caller import Call
from remit.domain.catalogue import Catalogue
from remit.domain.errors import Absent, BadField, NotOffered
from remit.domain.trifecta import Trifecta, trifectas
from remit.formats import chart as chart_format
from remit.verbs import chart as chart_verb

from .house import Asked, House
from .problems import json_response
from .reach import meant_by

MOST = 1000


async def reach(house: House, call: Call, asked: Asked) -> Response:
    """What can be had `from` a node, or `who` can have it; `to`: the way there alone; `cut`: which step cuts most."""
    start, who, to = (asked.query.get(name, "") for name in ("from", "who", "to"))
    if bool(start) and bool(who):
        raise BadField("who", "is another question than from")
    if not start and not who:
        return json_response(await _starts(house, call, asked.query.get("q", "")))
    node = await meant_by(house.env, call, start or who)
    found = await house.reach.radius(call, node, who=bool(who))
    if to:
        if to == node or to not in found.found:
            raise Absent(inside=f"way to {to[:200]}")
        return json_response({"from": node, "to": to, **found.row(to)})
    said = await house.reach.ask(lambda: radius_shape(found, asked.whole("limit", 100, most=MOST)))
    if asked.query.get("cut"):
        said["cuts"] = await cuts_shape(house, found)
    return json_response(said)


async def _starts(house: House, call: Call, q: str) -> dict[str, Any]:
    graph = await house.reach.graph(call)
    fitting = [node for node in graph.nodes() if (kind_of(node).starts or q) and q.casefold() in node.casefold()]
    return {"items": sorted(fitting)[:MOST], "left_off": max(0, len(fitting) - MOST)}


def radius_shape(found: Radius, most: int) -> dict[str, Any]:
    """What is reached, or by whom; what nobody meant first."""
    rows = found.rows(most)
    counted = {"count": len(found.others), "beyond": len(found.beyond), "left_off": len(found.others) - len(rows)}
    return {"who" if found.who else "from": found.node, **counted, "reached": rows}


async def cuts_shape(house: House, found: Radius) -> list[dict[str, Any]]:
    """The steps that cut most."""
    try:
        return await house.reach.ask(lambda: cuts(found))
    except NoCuts as missing:
        raise NotOffered(str(missing)) from missing


async def list_charts(house: House, call: Call, asked: Asked) -> Response:
    """What is imported."""
    held = await chart_verb.charts(house.env)
    return json_response({"items": [asdict(one) for one in held.imported]})


async def import_chart(house: House, call: Call, asked: Asked) -> Response:
    """Take in the steps of an export, in place of those of its name."""
    packed = await asyncio.to_thread(asked.json, chart_format.Packed)
    text = await asyncio.to_thread(chart_format.checked, packed, KINDS)
    size = len(packed.nodes), len(packed.steps) // 3
    return json_response(asdict(await chart_verb.chart(house.env, call, asked.path["chart"], text, *size)), 201)


async def remove_chart(house: House, call: Call, asked: Asked) -> Response:
    """Ask it no more."""
    await chart_verb.remove(house.env, call, asked.path["chart"])
    return json_response({})


async def planned(house: House, old: Catalogue, new: Catalogue) -> dict[str, Any]:
    """What a new catalogue changes in who can reach what, and the trifectas that there would be."""
    estate = await house.reach.estate()
    found = await house.reach.ask(lambda: change(old, new, estate))
    there = {(one.purpose, tuple(one.legs.items())) for one in trifectas(old)}
    flagged = [
        {**trifecta_shape(one), "new": (one.purpose, tuple(one.legs.items())) not in there} for one in trifectas(new)
    ]
    return {"reach": change_shape(found), "trifectas": flagged}


def change_shape(found: ReachChange) -> dict[str, Any]:
    """What would change for whom."""
    begin = {"gained": [s._asdict() for s in found.begin], "lost": [s._asdict() for s in found.begin_no_more]}
    return {"agents": [asdict(one) for one in found.agents], "more": found.more, "begin": begin}


def trifecta_shape(one: Trifecta) -> dict[str, Any]:
    """Which purpose, what it has of each, and the smallest change that breaks it."""
    legs = {leg.name.lower(): list(parts) for leg, parts in one.legs.items()}
    return {"purpose": one.purpose, "agents": list(one.agents), "legs": legs, "breaks": list(one.breaks)}
