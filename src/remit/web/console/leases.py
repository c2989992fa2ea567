"""Leases: what is live where, what is to die and has not, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import Absent, BadField
from remit.domain.lease import IssuerOutage, Lease, LeaseState
from remit.domain.task import Task
from remit.formats import form
from remit.govern.search import search
from remit.govern.told import told
from remit.verbs.revoke import end_lease
from remit.web import api_agents, shapes
from remit.web.house import Asked, House

from . import seen
from .page import onward

PAGE = 100
COUNTED = 1000
ENDED = 200
MANY = 100
EVENTS = 100
STATES = tuple(state.value for state in LeaseState)
ALIVE = (LeaseState.LIVE, LeaseState.RESERVED, LeaseState.ENDING)


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """What is to die and has not comes first, then what lives; or leases of one state, of one issuer."""
    given = {name: asked.query.get(name, "") for name in ("state", "issuer")}
    where = {name: value for name, value in given.items() if value}
    if where.get("state", "live") not in STATES:
        raise BadField("state", f"must be {', '.join(STATES)}")
    listed = where if "state" in where else {**where, "state": "live"}
    mine = await seen.open_tasks(house, call) if call.caller.kind is CallerKind.PERSON else ()
    rows, following = await _leases(house, call, mine, listed, asked.query.get("after", ""))
    ending: Sequence[Lease] = ()
    if "state" not in where:
        ending, _ = await _leases(house, call, mine, {**where, "state": "ending"}, "")
    return {
        "items": [await _told(house, row) for row in rows],
        "next": following,
        "ending": [await _told(house, row) for row in sorted(ending, key=lambda row: (-row.attempts, row.ending_at))],
        "issuers": await _issuers(house, call),
        "filters": given,
        "states": STATES,
    }


async def _leases(
    house: House, call: Call, mine: Sequence[Task], where: dict[str, str], after: str
) -> tuple[list[Lease], str]:
    """`mine` are the open tasks of a person, who sees what those hold, and what the newest of those that ended did."""
    if call.caller.kind is not CallerKind.PERSON:
        # By state alone: an issuer's own may be few among very many, and a page looks at a bounded number of them.
        state = {"state": where["state"]}
        limit = COUNTED if "issuer" in where else PAGE
        rows = await house.env.store.find(Lease, state, after=after, limit=limit)
        fitting = [row for row in rows if _at(row, where)]
        last = fitting[PAGE - 1] if len(fitting) > PAGE else rows[-1] if len(rows) == limit else None
        return fitting[:PAGE], last.key if last else ""
    tasks = {task.id for task in (*mine, *await _ended(house, call, where))}
    found: list[Lease] = []
    if len(tasks) > MANY:  # quicker the other way round
        found = [row for row in await seen.leases(house, call, LeaseState(where["state"]), tasks) if _at(row, where)]
    else:
        for task in tasks:
            found += await house.env.store.find(Lease, {"task": task, **where}, limit=PAGE)
    return sorted(found, key=lambda row: -row.reserved_at)[:PAGE], ""


def _at(row: Lease, where: dict[str, str]) -> bool:
    return row.issuer == where.get("issuer", row.issuer)


async def _ended(house: House, call: Call, where: dict[str, str]) -> list[Task]:
    """The newest of the caller's tasks, where what such a lease was for may have ended."""
    found: list[Task] = []
    if where["state"] in ("ending", "ended"):
        for those in ({"initiator": str(call.caller)}, {}):
            rows, _ = await seen.newest(house, call, those, 0, ENDED)
            found += rows
    return found


async def _issuers(house: House, call: Call) -> list[dict[str, Any]]:
    """How many are alive at each issuer, of the first thousand in each state; for operators and auditors."""
    if call.caller.kind is CallerKind.PERSON:
        return []
    store = house.env.store
    _, force = await house.env.in_force()
    found = []
    tallies = {state.value: await store.tally(Lease, {"state": state.value}, "issuer") for state in ALIVE}
    more = {word: sum(tally.values()) >= COUNTED for word, tally in tallies.items()}
    for name, issuer in sorted(force.catalogue.issuers.items()):
        down = await store.get(IssuerOutage, name)
        counts = {word: tally.get(name, 0) for word, tally in tallies.items()}
        since = down.since if down and not down.over_at else 0
        found.append({"name": name, "kind": issuer.kind, "down_since": since, "more": more, **counts})
    return found


def shown(row: Lease) -> dict[str, Any]:
    """A lease, with what stands between it and its end."""
    return {**shapes.lease(row), "waits": row.waits().value, "lives_until": row.lives_until}


async def _told(house: House, row: Lease) -> dict[str, Any]:
    task = await house.env.store.get(Task, row.task)
    return {**shown(row), "goal": task.goal if task else ""}


async def one(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """One lease, and what happened to it."""
    row = await house.env.store.get(Lease, asked.path["lease"])
    task = await house.env.store.get(Task, row.task) if row else None
    if row is None or task is None or not await api_agents.may_see(house, call, task):
        raise Absent(inside=f"lease {asked.path['lease'][:100]} for {call.caller}")
    found = await search(house.log, [row.id], limit=EVENTS)
    down = await house.env.store.get(IssuerOutage, row.issuer)
    events = [
        {"index": index, "at": entry["at"], "by": entry["by"], "type": entry["type"], **told(entry, row.credential)}
        for index, entry in ((index, json.loads(leaf)) for index, leaf in reversed(found.entries))
    ]
    can = row.state in (LeaseState.RESERVED, LeaseState.LIVE) and call.caller.kind is not CallerKind.AUDITOR
    since = down.since if down and not down.over_at else 0
    return {"lease": shown(row), "task": shapes.task(task), "down_since": since, "events": events, "may_end": can}


async def end(house: House, call: Call, asked: Asked) -> Response:
    """End the credential, from its page."""
    row = await end_lease(house.env, call, asked.path["lease"], form.one(form.parse(asked.body), "reason"))
    return onward(f"/console/leases/{row.id}")
