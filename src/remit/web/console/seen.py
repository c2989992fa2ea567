"""What one person may see, gathered for pages: never more than the API would give the same caller."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from remit.domain.approval import Answer, Approval
from remit.domain.caller import Call, CallerKind
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.govern.search import search
from remit.web import api_agents, api_approvals
from remit.web.house import House

COUNTED = 1000
BEGAN = 200
LOOKED_AT = 40  # newest denials of each kind


async def newest(house: House, call: Call, where: Mapping[str, str], before: int, limit: int) -> tuple[list[Task], int]:
    """Tasks of the caller's among the next `limit` that were proposed before that place in the log, the newest first;
    and where to go on, 0 at the end. `where` may name agent, purpose and initiator.
    """
    found = await search(house.log, ["TaskProposed", *where.values()], before=before, limit=limit)
    rows: list[Task] = []
    for _, leaf in found.entries:
        said = json.loads(leaf)["data"]
        if any(said[name] != value for name, value in where.items()):
            continue  # the word stands elsewhere in it
        row = await house.env.store.get(Task, said["task"])
        if row is not None and await api_agents.may_see(house, call, row):
            rows.append(row)
    return rows, found.next


async def open_tasks(house: House, call: Call) -> list[Task]:
    """The caller's open tasks, the newest first, at most a thousand: of a person, what they began and answer for."""
    find = house.env.store.find
    is_open = {"state": TaskState.OPEN.value}
    first = await find(Task, is_open, limit=COUNTED)
    if call.caller.kind is not CallerKind.PERSON or len(first) < COUNTED:
        rows = {row.id: row for row in first if await api_agents.may_see(house, call, row)}
    else:  # theirs need not be among the first
        _, force = await house.env.in_force()
        catalogue, name = force.catalogue, call.caller.name
        mine = [{"agent": agent.name} for agent in catalogue.agents.values() if agent.owner == name]
        mine += [{"purpose": purpose.name} for purpose in catalogue.purposes.values() if purpose.owner == name]
        rows = {}
        for where in mine:
            if len(rows) < COUNTED:
                rows |= {row.id: row for row in await find(Task, {**is_open, **where}, limit=COUNTED)}
        began, _ = await newest(house, call, {"initiator": f"person:{name}"}, 0, BEGAN)
        rows |= {row.id: row for row in began if row.state is TaskState.OPEN}
    return sorted(rows.values(), key=lambda row: -row.opened_at)[:COUNTED]


async def pending(house: House, call: Call) -> list[Approval]:
    """Approvals that wait, and that the caller may see; the soonest over first."""
    rows = await house.env.store.find(Approval, {"state": "pending"}, limit=COUNTED)
    found = [row for row in rows if row.pending_at(call.now) and await api_approvals.may_see(house, call, row)]
    return sorted(found, key=lambda row: row.expires_at)


def waits_for(row: Approval, call: Call) -> bool:
    """Whether this very person is asked, or is to answer in somebody's place, and was not heard yet."""
    mine = Answer(call.caller.name, True, call.now, groups=call.caller.groups)
    asked = mine.counts_for(row.approvers) or any(one.to == call.caller.name for one in row.handed_on)
    heard = any(call.caller.name in one.voices for one in row.answers)
    return row.pending_at(call.now) and asked and not heard and not row.chain.involves(call.caller.name)


async def leases(house: House, call: Call, state: LeaseState, mine: set[str]) -> list[Lease]:
    """Leases in this state; for a person, of these tasks."""
    rows = await house.env.store.find(Lease, {"state": state.value}, limit=COUNTED)
    return [row for row in rows if call.caller.kind is not CallerKind.PERSON or row.task in mine]


async def denied(house: House, call: Call, limit: int) -> list[dict[str, Any]]:
    """What was denied lately, newest first; of calls, proposals and credentials."""
    found: list[dict[str, Any]] = []
    for words in (["AccessDecided", "deny"], ["ProposalDenied"], ["IssueDenied"]):
        for place, leaf in (await search(house.log, words, limit=LOOKED_AT)).entries:
            entry = json.loads(leaf)
            data = entry["data"]
            if data.get("decision", "deny") != "deny":
                continue
            if not await _may_see_task(house, call, str(data.get("task", "")), str(data.get("agent", ""))):
                continue
            what = data.get("tool") or data.get("credential") or data.get("purpose") or ""
            why = {"task": data.get("task", ""), "agent": data.get("agent", ""), "reasons": data.get("reasons", [])}
            found.append({"index": place, "at": entry["at"], "what": what, **why})
    return sorted(found, key=lambda one: -one["index"])[:limit]


async def _may_see_task(house: House, call: Call, task: str, agent: str) -> bool:
    if call.caller.kind is not CallerKind.PERSON:
        return True
    row = await house.env.store.get(Task, task) if task else None
    if row is not None:
        return await api_agents.may_see(house, call, row)
    _, force = await house.env.in_force()
    known = force.catalogue.agents.get(agent)
    return known is not None and known.owner == call.caller.name
