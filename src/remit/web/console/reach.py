"""The blast radius: from, through, to; who can reach something; the one step to take away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from remit.discover.cuts import NoCuts
from remit.discover.radius import Group, Radius, cuts
from remit.discover.step_rules import MEANT, rule_of
from remit.discover.words import kind_of, short
from remit.domain.caller import Call, CallerKind
from remit.domain.errors import Absent
from remit.domain.reach import Step
from remit.domain.trifecta import trifectas
from remit.verbs.chart import charts
from remit.web.api_reach import trifecta_shape
from remit.web.house import Asked, House
from remit.web.reach import meant_by

GROUPS, MEMBERS, ALL, STARTS = 40, 8, 200, 100
_FIRST = {kind: place for place, kind in enumerate(("agent", "person", "purpose", "tool", "credential", "aws-key"))}
QUERY = ("from", "who", "to", "through", "kind", "q")


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """What one can begin from, or one question answered."""
    q = {name: asked.query.get(name, "") for name in QUERY}
    if not q["from"] and not q["who"]:
        return {"question": "", **await _starts(house, call, q["q"])}
    node = await meant_by(house.env, call, q["from"] or q["who"])
    found = await house.reach.radius(call, node, who=not q["from"])
    if q["to"]:
        if q["to"] == node or q["to"] not in found.found:
            raise Absent(inside=f"way to {q['to'][:200]}")
        return {"question": "way", "node": named(node), "to": named(q["to"]), **_member(found, q["to"])}
    return await house.reach.ask(lambda: _answered(found, q["through"], q["kind"]))


async def _starts(house: House, call: Call, q: str) -> dict[str, Any]:
    graph = await house.reach.graph(call)
    words = q.casefold().split()
    fitting = [
        node
        for node in graph.nodes()
        if (kind_of(node).starts or words) and all(word in node.casefold() for word in words)
    ]
    fitting.sort(key=lambda node: (_FIRST.get(node.partition(":")[0], len(_FIRST)), node))
    reads = call.caller.kind is not CallerKind.PERSON
    imported = [asdict(one) for one in (await charts(house.env)).imported] if reads else []
    _, force = await house.env.in_force()
    flagged = [trifecta_shape(one) for one in trifectas(force.catalogue)]
    return {
        "q": q,
        "items": [named(node) for node in fitting[:STARTS]],
        "left_off": max(0, len(fitting) - STARTS),
        "trifectas": flagged[:STARTS],
        "imported": imported,
    }


def named(node: str) -> dict[str, str]:
    """A node as it is shown."""
    return {"node": node, "kind": kind_of(node).one, "name": short(node)}


def _answered(found: Radius, through: str, kind: str) -> dict[str, Any]:
    narrowed = bool(through or kind)
    every = [one for one in found.groups() if not narrowed or (one.through == through and one.kind == kind)]
    groups = [_group(found, one, ALL if narrowed else MEMBERS) for one in every[:GROUPS]]
    return {
        "question": "who" if found.who else "from",
        "node": named(found.node),
        "count": len(found.others),
        "beyond": len(found.beyond),
        "narrowed": narrowed,
        "groups": groups,
        "left_off": max(0, len(every) - GROUPS),
        **_best_cut(found),
    }


def _best_cut(found: Radius) -> dict[str, Any]:
    if not found.beyond:
        return {"cut": None, "uncut": ""}
    try:
        best = cuts(found, 1)
    except NoCuts as missing:
        return {"cut": None, "uncut": str(missing)}
    if not best:
        return {"cut": None, "uncut": "No single step does: there is another way to each of them."}
    step = Step(best[0]["source"], best[0]["target"], best[0]["how"], best[0]["detail"])
    return {"cut": {**_step(step), "cuts": best[0]["cuts"]}, "uncut": ""}


def _group(found: Radius, one: Group, most: int) -> dict[str, Any]:
    kind = kind_of(one.nodes[0])
    members = [_member(found, node) for node in one.nodes[:most]]
    for member in members[1:]:
        member["alike"] = _alike(member, members[0], found.who)
    return {
        "through": named(one.through) if one.through else None,
        "distance": len(found.way(one.through)) if one.through else 0,
        "kind": one.kind,
        "word": kind.one if len(one.nodes) == 1 else kind.many,
        "beyond": one.beyond,
        "last_meant": one.how in MEANT,
        "says": rule_of(one.how).says,
        "count": len(one.nodes),
        "nodes": members,
        "left_off": max(0, len(one.nodes) - most),
    }


def _alike(one: dict[str, Any], first: dict[str, Any], who: bool) -> bool:
    """Whether the two ways differ in their ends only."""
    cut = slice(1, None) if who else slice(None, -1)
    end = one["way"][0 if who else -1], first["way"][0 if who else -1]
    return bool(one["way"][cut] == first["way"][cut] and end[0]["rule"] == end[1]["rule"])


def _member(found: Radius, node: str) -> dict[str, Any]:
    way: Sequence[Step] = found.way(node)
    return {**named(node), "beyond": node not in found.meant, "alike": False, "way": [_step(step) for step in way]}


def _step(step: Step) -> dict[str, Any]:
    rule = rule_of(step.how)
    return {
        "source": named(step.source),
        "says": rule.says,
        "target": named(step.target),
        "detail": step.detail,
        "meant": rule.meant,
        "fix": rule.cut,
        "rule": rule.id,
        "reference": rule.reference,
    }
