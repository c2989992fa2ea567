"""What one person may see, gathered for pages: never more than the API would give the same caller."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from remit.domain.approval import Approval
from remit.domain.caller import Call, CallerKind
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task
from remit.formats import json_input
from remit.govern.search import search
from remit.web import api_agents, api_people
from remit.web.house import House

COUNTED = 1000
BEGUN = 100
LOOKED_AT = 2000  # newest events


async def tasks(
    house: House, call: Call, where: Mapping[str, str], after: str = "", limit: int = COUNTED
) -> tuple[list[Task], str]:
    """Tasks of the caller's among the next `limit` in key order, and where to go on; empty at the end.

    What a person began comes first, however many tasks there are: the newest hundred.
    """
    rows = await house.env.store.find(Task, where, after=after, limit=limit)
    mine = {row.id: row for row in rows if await api_agents.may_see(house, call, row)}
    if call.caller.kind is CallerKind.PERSON and not after:
        mine |= {row.id: row for row in await _begun(house, call, where)}
    return list(mine.values()), rows[-1].id if len(rows) == limit else ""


async def _begun(house: House, call: Call, where: Mapping[str, str]) -> list[Task]:
    """The newest tasks that this person began, of those that fit."""
    words = ["TaskProposed", str(call.caller), *(where[name] for name in ("agent", "purpose") if name in where)]
    found = await search(house.log, words, limit=BEGUN)
    rows = [await house.env.store.get(Task, json.loads(leaf)["data"]["task"]) for _, leaf in found.entries]
    state = where.get("state", "")
    fitting = [row for row in rows if row is not None and row.state.value == (state or row.state.value)]
    return [row for row in fitting if await api_agents.may_see(house, call, row)]


async def pending(house: House, call: Call) -> list[Approval]:
    """Approvals that wait, and that the caller may see; the soonest over first."""
    rows = await house.env.store.find(Approval, {"state": "pending"}, limit=COUNTED)
    found = [row for row in rows if row.pending_at(call.now) and await api_people.may_see(house, call, row)]
    return sorted(found, key=lambda row: row.expires_at)


def waits_for(row: Approval, call: Call) -> bool:
    """Whether this very person may answer it, and has not."""
    mine = {call.caller.name, *call.caller.groups}
    answered = any(answer.person == call.caller.name for answer in row.answers)
    return bool(mine & set(row.approvers)) and not answered and not row.chain.involves(call.caller.name)


async def leases(house: House, call: Call, state: LeaseState, mine: set[str]) -> list[Lease]:
    """Leases in this state; for a person, of these tasks."""
    rows = await house.env.store.find(Lease, {"state": state.value}, limit=COUNTED)
    return [row for row in rows if call.caller.kind is not CallerKind.PERSON or row.task in mine]


async def denied(house: House, call: Call, limit: int) -> list[dict[str, Any]]:
    """What was denied among the newest events, newest first."""
    size, _ = await house.log.head()
    found: list[dict[str, Any]] = []
    for leaf in reversed(await house.log.entries(max(0, size - LOOKED_AT), size)):
        if b'Denied"' not in leaf and b'"decision":"deny"' not in leaf:
            continue
        entry: Any = json_input.parse(leaf, limit=len(leaf))
        data = entry["data"]
        if entry["type"] != "AccessDecided" and not entry["type"].endswith("Denied"):
            continue
        if not await _may_see_task(house, call, str(data.get("task", "")), str(data.get("agent", ""))):
            continue
        what = data.get("tool") or data.get("credential") or data.get("purpose") or ""
        why = {name: data.get(name, "") for name in ("task", "agent")} | {"reasons": list(data.get("reasons", ()))}
        found.append({"at": entry["at"], "what": what, **why})
        if len(found) >= limit:
            break
    return found


async def _may_see_task(house: House, call: Call, task: str, agent: str) -> bool:
    if call.caller.kind is not CallerKind.PERSON:
        return True
    row = await house.env.store.get(Task, task) if task else None
    if row is not None:
        return await api_agents.may_see(house, call, row)
    _, force = await house.env.in_force()
    known = force.catalogue.agents.get(agent)
    return known is not None and known.owner == call.caller.name
