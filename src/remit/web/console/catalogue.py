"""What is in force: purposes, tools, and the revisions that made them so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from remit.domain.caller import Call, CallerKind
from remit.domain.catalogue import CatalogueFiles
from remit.domain.errors import Absent
from remit.domain.purpose import Purpose
from remit.domain.trifecta import trifectas
from remit.govern.search import search
from remit.govern.usage import uses
from remit.web.api_people import purpose_shape, tool_shape
from remit.web.api_reach import trifecta_shape
from remit.web.house import Asked, House

SHOWN = 200
DAYS = 30
COUNTED = 300  # agents' tools, on a page
REVISIONS = 20
LOOKED_AT = 200  # revisions, for who changed one thing


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """Purposes and tools by words in them; the newest revisions, to those whom the log is open to."""
    head, force = await house.env.in_force()
    q = asked.query.get("q", "")
    purposes = [
        {
            "name": p.name,
            "title": p.title,
            "owner": p.owner,
            "agents": list(p.agents),
            "tools": sorted({g.tool for g in p.grants}),
        }
        for p in _fitting(force.catalogue.purposes, q)
    ]
    tools = [
        {"name": t.name, "title": t.title, "effect": t.effect.word, "sensitivity": t.sensitivity.word}
        | {"environment": t.environment, "server": t.server, "pinned": bool(t.pin), "egress": t.egress}
        for t in _fitting(force.catalogue.tools, q)
    ]
    reads = call.caller.kind is not CallerKind.PERSON
    return {
        "q": q,
        "number": head.number,
        "digest": head.digest,
        "applied_at": head.applied_at,
        "applied_by": head.applied_by if reads else "",
        "purposes": purposes[:SHOWN],
        "tools": tools[:SHOWN],
        "left_off": {"purposes": max(0, len(purposes) - SHOWN), "tools": max(0, len(tools) - SHOWN)},
        "policies": _policies(force.bundle.policies) if reads else [],
        "revisions": await _revisions(house, REVISIONS) if reads else [],
    }


def _fitting(things: Mapping[str, Any], q: str) -> list[Any]:
    words = q.casefold().split()
    found = []
    for _, one in sorted(things.items()):
        text = f"{one.name} {one.title} {getattr(one, 'owner', '')} {getattr(one, 'server', '')}".casefold()
        if all(word in text for word in words):
            found.append(one)
    return found


def _policies(policies: Any) -> list[dict[str, Any]]:
    names = ("id", "file", "effect", "control", "says")
    return [{**{name: getattr(p, name) for name in names}, "approvers": list(p.approvers)} for p in policies[:SHOWN]]


async def _revisions(house: House, limit: int) -> list[dict[str, Any]]:
    """The newest first: who put what in force, and what that changed."""
    found = await search(house.log, ["CatalogueApplied"], limit=limit)
    entries = [(index, json.loads(leaf)) for index, leaf in found.entries]
    return [
        {"index": index, "at": entry["at"], "by": entry["by"]}
        | {"digest": entry["data"]["digest"], "summary": list(entry["data"]["summary"])}
        for index, entry in entries
        if entry["type"] == "CatalogueApplied"
    ]


async def _changed(house: House, call: Call, noun: str, name: str) -> list[dict[str, Any]]:
    """The revisions that changed this one thing, of the newest two hundred; who applied them reviewed it."""
    if call.caller.kind is CallerKind.PERSON:
        return []
    of = {f"{sign} {noun} {name}" for sign in "+-~"}
    found = []
    for one in await _revisions(house, LOOKED_AT):
        lines = [line for line in one["summary"] if line.partition(": ")[0] in of]
        if lines:
            found.append({**one, "summary": lines})
    return found


async def purpose(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """One purpose: the ceiling it is, its file, and who changed it."""
    head, force = await house.env.in_force()
    found = force.catalogue.purposes.get(asked.path["purpose"])
    if found is None:
        raise Absent(inside=f"purpose {asked.path['purpose'][:100]}")
    return {
        "uses": await _uses(house, call, found),
        "days": DAYS,
        "purpose": purpose_shape(found),
        "trifecta": [trifecta_shape(one) for one in trifectas(force.catalogue) if one.purpose == found.name],
        "file": await _file(house, call, head.digest, f"purposes/{found.name}.toml"),
        "changed": await _changed(house, call, "purpose", found.name),
    }


async def _uses(house: House, call: Call, found: Purpose) -> list[dict[str, Any]] | None:
    """For whoever answers for it or reads the log; none of them where there are too many to count for a page."""
    if call.caller.kind is CallerKind.PERSON and call.caller.name != found.owner:
        return None
    many = len(found.agents) * len({grant.tool for grant in found.grants}) > COUNTED
    since = call.now - DAYS * 86_400_000
    return [] if many else [asdict(one) for one in await uses(house.log, found, since=since)]


async def tool(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """One tool: what a call of it does, who may be asked to, its file, and who reviewed it."""
    head, force = await house.env.in_force()
    found = force.catalogue.tools.get(asked.path["tool"])
    if found is None:
        raise Absent(inside=f"tool {asked.path['tool'][:100]}")
    granted = [n for n, p in sorted(force.catalogue.purposes.items()) if any(g.tool == found.name for g in p.grants)]
    return {
        "tool": tool_shape(found),
        "decisive": list(found.decisive()),
        "granted_by": granted,
        "file": await _file(house, call, head.digest, f"tools/{found.name}.toml"),
        "changed": await _changed(house, call, "tool", found.name),
    }


async def _file(house: House, call: Call, digest: str, path: str) -> str:
    """The file's text, to those who may read the catalogue's files."""
    if call.caller.kind is CallerKind.PERSON:
        return ""
    files = await house.env.store.get(CatalogueFiles, digest)
    return dict(files.files).get(path, "") if files else ""
