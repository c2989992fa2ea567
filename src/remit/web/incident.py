"""An incident: from one identifier to its whole story, as JSON, and to take away with proofs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from remit.domain.approval import Approval
from remit.domain.caller import Call, CallerKind
from remit.domain.errors import Absent, BadField
from remit.domain.task import Task
from remit.govern.incident import DEPTHS, Story, line, story
from remit.govern.looking import Looking
from remit.govern.things import Things

from . import api_agents, api_approvals
from .house import Asked, House
from .problems import json_response


class Seen:
    """See `govern.incident.Sight`: what the API gives this caller, one thing at a time."""

    def __init__(self, house: House, call: Call) -> None:
        self._house, self._call = house, call
        self._tasks: dict[str, bool] = {}
        self.all = call.caller.kind in (CallerKind.OPERATOR, CallerKind.AUDITOR)
        self.name = call.caller.name

    async def task(self, row: Task) -> bool:
        """Who sees a task has always begun it or answered for it: asked once for each."""
        if row.id not in self._tasks:
            self._tasks[row.id] = await api_agents.may_see(self._house, self._call, row)
        return self._tasks[row.id]

    async def approval(self, row: Approval) -> bool:
        """Also who is asked."""
        return await api_approvals.may_see(self._house, self._call, row)

    async def entry(self, entry: Mapping[str, Any]) -> bool:
        """The log is its readers'; people see what happened in tasks that they may see."""
        key = str(entry["data"].get("task", ""))
        return self.all or (self._tasks[key] if key in self._tasks else await self._of_task(key))

    async def _of_task(self, key: str) -> bool:
        row = await self._house.env.store.get(Task, key)
        return row is not None and await self.task(row)


async def found(house: House, call: Call, asked: Asked) -> Story:
    """The story of `?of=`; `?depth=` is how many things that tasks share it goes through."""
    depth = asked.whole("depth", 1, most=DEPTHS[-1])
    if depth not in DEPTHS:
        raise BadField("depth", f"must be {DEPTHS[0]} to {DEPTHS[-1]}")
    sight = Seen(house, call)
    known = Things(Looking(house.env, house.log, sight, call.now))
    return await story(house.log, known, sight, asked.query.get("of", ""), depth=depth)


async def incident(house: House, call: Call, asked: Asked) -> Response:
    """The whole story of one identifier, and everything it touched; `Absent` for what is not there and not theirs."""
    told = await found(house, call, asked)
    if not told.seeds:
        raise Absent(inside=f"{told.of!r} for {call.caller}")
    return json_response(shape(told))


def shape(told: Story) -> dict[str, Any]:
    """As JSON. `live` is what still lives, with the commands that end it."""
    credentials = {one.node.id: str(one.about.facts["credential"]) for one in told.of_kind("lease")}
    things = [
        {"kind": one.node.kind, "id": one.node.id, "distance": one.distance, "how": one.relation}
        | {"by": {"kind": one.via.kind, "id": one.via.id} if one.via else None, "facts": one.about.facts}
        for one in told.things
    ]
    live = [
        {"kind": one.node.kind, "id": one.node.id, "distance": one.distance, "until": 0, **one.about.live}
        for one in told.things
        if one.about.live and one.distance < told.depth
    ]
    return {
        "of": told.of,
        "depth": told.depth,
        "is": [{"kind": seed.kind, "id": seed.id} for seed in told.seeds],
        "things": things,
        "live": live,
        "events": [line(entry, credentials) for entry in told.events],
        "mentioned": [line(entry, credentials) for entry in told.mentioned],
        "cut": list(told.cut),
    }
