"""An incident: one box to put any identifier into, and what it touched, what of it lives, and what to do next."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import Absent, Busy
from remit.domain.task import Task
from remit.formats import event_csv, tlog
from remit.govern import bundle
from remit.govern.incident import Story
from remit.log import tiles
from remit.web import incident
from remit.web.house import Asked, House
from remit.web.problems import HEADERS

from . import story
from .page import alone

SHARED = 100
AT_ONCE = 4
SECONDS = 60.0
_running: set[object] = set()


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """The story, drawn; `found` is None before anything is asked for, and empty when there is nothing to be seen."""
    of, depth = asked.query.get("of", "").strip(), asked.whole("depth", 1, most=3)
    if not of:
        return {"of": "", "depth": depth, "found": None, "lanes": [], "events": [], "shared": []}
    told = await incident.found(house, call, asked)
    if not told.seeds:
        return {"of": told.of, "depth": depth, "found": {}, "lanes": [], "events": [], "shared": []}
    tasks = await _tasks(house, told)
    entries = [(index, json.loads(leaf)) for index, leaf in told.events]
    seed = next((one.id for one in told.seeds if one.kind == "task"), "")
    picture = await story.drawn(house, call, tasks, entries, seed)
    found = incident.shape(told)
    shared = [one for one in found["things"] if one["kind"] == "task" and one["distance"] >= depth]
    near = [one for one in found["things"] if one["distance"] < depth]
    return {
        "of": told.of,
        "depth": depth,
        "found": {name: found[name] for name in ("is", "live", "mentioned", "cut")} | {"things": near},
        "shared": shared[:SHARED],
        **picture,
    }


async def _tasks(house: House, told: Story) -> list[Task]:
    """Those in the story itself, the earliest first, as many as there are lanes."""
    keys = [one.node.id for one in told.of_kind("task") if one.distance < told.depth]
    rows = [await house.env.store.get(Task, key) for key in keys[: story.LANES]]
    return sorted((row for row in rows if row is not None), key=lambda row: row.opened_at)


async def export(house: House, call: Call, asked: Asked) -> Response:
    """The story as one ZIP file: its events with receipts below one checkpoint, a page, CSV, and a manifest."""
    if len(_running) >= AT_ONCE:
        raise Busy("Too many exports are running.", next_step="Try again when one is done.")
    mine = object()
    _running.add(mine)
    try:
        async with asyncio.timeout(SECONDS):
            body = await _bundle(house, call, asked)
    except TimeoutError as slow:
        raise Busy(f"It takes longer than {SECONDS:.0f} s.", next_step="Ask for less depth.") from slow
    finally:
        _running.discard(mine)
    headers = {**HEADERS, "Content-Disposition": 'attachment; filename="incident.zip"'}
    return Response(body, headers=headers, media_type="application/zip")


async def _bundle(house: House, call: Call, asked: Asked) -> bytes:
    told = await incident.found(house, call, asked)
    if not told.seeds:
        raise Absent(inside=f"{told.of!r} for {call.caller}")
    size, note = await house.log.head()
    proofs = [(place, leaf, await _receipt(house, place, size, note)) for place, leaf in told.events]
    return await asyncio.to_thread(_packed, told, note, proofs, call.now)


def _packed(told: Story, note: str, proofs: Sequence[tuple[int, bytes, str]], now: int) -> bytes:
    shown = {**incident.shape(told), "written_at": now, "checkpoint": note}
    csv = event_csv.header() + "".join(event_csv.line(place, leaf) for place, leaf in told.events)
    page = alone("incident_alone.html", told=shown, now=now)
    more = {"story.json": msgspec.json.encode(shown), "events.csv": csv.encode(), "story.html": page.encode()}
    return bundle.build(note, proofs, more)


async def _receipt(house: House, place: int, size: int, note: str) -> str:
    await asyncio.sleep(0)  # decisions go first
    path = await tiles.with_tiles(lambda read: tiles.inclusion_proof(place, size, read), house.log.tile)
    return tlog.write_proof(place, path, note)
