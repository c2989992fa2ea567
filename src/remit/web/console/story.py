"""The story of a task: what happened in it and below it, as the log says, and the lanes that it is drawn in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from remit.domain.approval import Approval
from remit.domain.caller import Call
from remit.domain.flow import Label, Sensitivity, Trust
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task
from remit.govern.search import search
from remit.govern.told import told
from remit.web import api_agents, log
from remit.web.house import House

EVENTS = 400
LANES = 24
BARS = 40
Entry = Mapping[str, Any]


async def read(house: House, call: Call, task: Task, before: int) -> dict[str, Any]:
    """`events`, the oldest first, of the newest below `before`; `lanes` from the first task above to the last below."""
    found = await search(house.log, [task.id], before=before, limit=EVENTS)
    entries = [(index, json.loads(leaf)) for index, leaf in reversed(found.entries)]
    mine = [(index, entry) for index, entry in entries if await log.may_see(house, call, entry)]
    return {**await drawn(house, call, await _lanes(house, call, task), mine, task.id), "earlier": found.next}


async def drawn(
    house: House, call: Call, tasks: Sequence[Task], mine: Sequence[tuple[int, Entry]], here: str
) -> dict[str, Any]:
    """`events` in words, and a lane for each of these tasks, all of which the caller may see; `here` is the page's."""
    approvals = {one.id: one for row in tasks for one in await _of(house, Approval, row.id)}
    leases = {one.id: one for row in tasks for one in await _of(house, Lease, row.id)}
    agents = {row.id: row.agent for row in tasks}
    events = [_line(index, entry, here, agents, approvals, leases) for index, entry in mine]
    _only_when_it_changes(events)
    lanes = [
        {
            **_lane(row, call.now),
            "here": row.id == here,
            "label": _darkening(row, [entry for _, entry in mine]),
            "marks": [_mark(line) for line in events if line["of"] == row.id and line["decision"]],
            "holds": [_hold(one, call.now) for one in approvals.values() if one.task == row.id],
            "leases": [_bar(one, call.now) for one in leases.values() if one.task == row.id],
        }
        for row in tasks
    ]
    return {"events": events, "lanes": lanes}


async def _of(house: House, kind: type[Any], task: str) -> Sequence[Any]:
    return await house.env.store.find(kind, {"task": task}, limit=BARS)


async def _lanes(house: House, call: Call, task: Task) -> list[Task]:
    """Above, itself, below: those the caller may see, each after the one it hangs from."""
    rows: list[Task] = []
    for hop in task.chain.hops[:-1]:
        row = await house.env.store.get(Task, hop.task)
        if row is not None and await api_agents.may_see(house, call, row):
            rows.append(row)
    await _below(house, call, task, rows)
    return rows


async def _below(house: House, call: Call, task: Task, rows: list[Task]) -> None:
    rows.append(task)
    if not task.handed or len(rows) >= LANES:
        return
    children = await house.env.store.find(Task, {"parent": task.id}, limit=LANES)
    for child in sorted(children, key=lambda one: one.opened_at):
        if len(rows) < LANES and await api_agents.may_see(house, call, child):
            await _below(house, call, child, rows)


def _lane(row: Task, now: int) -> dict[str, Any]:
    names = {"task": row.id, "agent": row.agent, "purpose": row.purpose, "parent": row.parent}
    return {**names, "state": row.state.value, "from": row.opened_at, "until": row.ended_at or now}


def _line(
    index: int,
    entry: Entry,
    here: str,
    agents: Mapping[str, str],
    approvals: Mapping[str, Approval],
    leases: Mapping[str, Lease],
) -> dict[str, Any]:
    """One line of the timeline. `of` is the task it happened in, `agent` who acts there if that is another one."""
    data, of = entry["data"], str(entry["data"].get("task", ""))
    asked = approvals.get(str(data.get("approval", "")))
    lease = leases.get(str(data.get("lease", "")))
    said = told(entry, lease.credential) if lease else told(entry)
    if asked is not None and data.get("decision") == "hold":
        said["why"] = list(asked.shown.why)
    return {
        "index": index,
        "at": entry["at"],
        "by": entry["by"],
        "type": entry["type"],
        **said,
        "of": of,
        "agent": agents.get(of, "") if of != here else "",
        "decision": str(data.get("decision", "")) or ("deny" if str(entry["type"]).endswith("Denied") else ""),
        "approval": asked.id if asked else "",
        "policies": list(data.get("policies", ())),
        "label": _said_label(data),
    }


def _said_label(data: Mapping[str, Any]) -> str:
    return f"{data['trust']}, {data['sensitivity']}" if "trust" in data and "decision" in data else ""


def _only_when_it_changes(events: Sequence[dict[str, Any]]) -> None:
    """A label is said where it is another than before."""
    said: dict[str, str] = {}
    for line in events:
        if line["label"] == said.get(line["of"]):
            line["label"] = ""
        said[line["of"]] = line["label"] or said.get(line["of"], "")


def _mark(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in ("index", "at", "decision", "says")}


def _hold(row: Approval, now: int) -> dict[str, Any]:
    answered = max((one.at for one in row.answers), default=0)
    waits = row.pending_at(now)
    return {"approval": row.id, "from": row.asked_at, "until": now if waits else answered or min(row.expires_at, now)}


def _bar(row: Lease, now: int) -> dict[str, Any]:
    shown = {"lease": row.id, "credential": row.credential, "issuer": row.issuer, "state": row.state.value}
    return {**shown, "from": row.reserved_at, "until": row.ended_at if row.state is LeaseState.ENDED else now}


def _darkening(row: Task, entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """From when on it had read what; the last of them is what the task's own row says."""
    label, steps = Label(), [{"at": row.opened_at, "trust": "trusted", "sensitivity": "public"}]
    for entry in entries:
        data = entry["data"]
        if data.get("task") != row.id or "sensitivity" not in data:
            continue
        read = label | Label(Trust[data["trust"].upper()], Sensitivity[data["sensitivity"].upper()])
        if read != label:
            label = read
            steps.append({"at": entry["at"], "trust": label.trust.word, "sensitivity": label.sensitivity.word})
    if (label.trust, label.sensitivity) != (row.label.trust, row.label.sensitivity):
        at = row.ended_at or steps[-1]["at"]
        steps.append({"at": at, "trust": row.label.trust.word, "sensitivity": row.label.sensitivity.word})
    return steps
