"""Agents: who exists, who answers for them, how they proved it, how they are held, and what they never use."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import Absent
from remit.domain.identity import Agent, Identity, stale
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task
from remit.domain.trifecta import trifectas
from remit.govern.enforcement import enforcements
from remit.govern.usage import last_permit, last_use
from remit.web import shapes
from remit.web.api_people import agent_shape
from remit.web.api_reach import trifecta_shape
from remit.web.api_shadow import dismissed, shadows, shown
from remit.web.house import Asked, House

from . import seen
from .page import fields, onward

PAGE = 50
TASKS = 50
TOOLS = 60
SHADOWS = 50
MEANS = {
    "credential": "It was issued credentials for its tasks, and cannot act without them.",
    "gateway": "Its calls go through an enforcement point, which asks before they happen.",
    "hook": "Its own process asks. That is advice: whoever takes the process over need not ask.",
    "": "Nobody has asked for a decision about it lately, so nothing is known to hold it.",
}


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """The registered agents, by words in their name, title, owner and tier."""
    _, force = await house.env.in_force()
    after, q = asked.query.get("after", ""), asked.query.get("q", "")
    words = q.casefold().split()
    fitting = [a for name, a in sorted(force.catalogue.agents.items()) if name > after and _fits(a, words)]
    page = fitting[:PAGE]
    held = await enforcements(house.log, [agent.name for agent in page])
    items = [
        {
            **await agent_shape(house, agent),
            "grade": held[agent.name]["grade"],
            "purposes": sorted(p.name for p in force.catalogue.purposes.values() if agent.name in p.agents),
            "last_use": await last_use(house.log, agent.name) if await _knows(house, call, agent) else None,
        }
        for agent in page
    ]
    strange = await shadows(house) if call.caller.kind is not CallerKind.PERSON else []
    left = {"shadows": [shown(*one) for one in strange[:SHADOWS]], "more_shadows": max(0, len(strange) - SHADOWS)}
    following = page[-1].name if len(fitting) > PAGE else ""
    return {"items": items, "q": q, "total": len(fitting), "next": following, **left}


async def dismiss(house: House, call: Call, asked: Asked) -> Response:
    """What was seen and nobody registered need not be shown any more."""
    await dismissed(house, call, asked, fields(asked).get("note", ""))
    return onward("/console/agents")


def _fits(agent: Agent, words: list[str]) -> bool:
    text = " ".join((agent.name, agent.title, agent.owner, agent.tier.value)).casefold()
    return all(word in text for word in words)


async def _knows(house: House, call: Call, agent: Agent) -> bool:
    """The log is its readers'; what an agent did is of whoever answers for it too."""
    return call.caller.kind is not CallerKind.PERSON or call.caller.name == await house.env.answers_for(agent)


async def one(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """One agent."""
    _, force = await house.env.in_force()
    agent = force.catalogue.agents.get(asked.path["agent"])
    if agent is None:
        raise Absent(inside=f"agent {asked.path['agent'][:100]}")
    held = (await enforcements(house.log, [agent.name]))[agent.name]
    tasks = await _open(house, call, agent)
    purposes = [p for _, p in sorted(force.catalogue.purposes.items()) if agent.name in p.agents]
    granted: dict[str, list[str]] = {}
    for purpose in purposes:
        for grant in purpose.grants:
            granted.setdefault(grant.tool, []).append(purpose.name)
    return {
        "agent": await agent_shape(house, agent),
        "enforcement": {**held, "means": MEANS[held["grade"]]},
        "last_use": await last_use(house.log, agent.name) if await _knows(house, call, agent) else None,
        "identities": await _identities(house, call, agent),
        "purposes": [{"name": p.name, "title": p.title, "owner": p.owner} for p in purposes],
        "trifectas": [trifecta_shape(one) for one in trifectas(force.catalogue) if agent.name in one.agents],
        "without": await _without(house, call, agent),
        "access": await _access(house, call, agent, granted),
        "access_left_off": max(0, len(granted) - TOOLS),
        "tasks": [shapes.task(row) for row in tasks],
        "more_tasks": len(tasks) == TASKS,
        "leases": await _alive(house, [row.id for row in tasks]),
    }


async def _open(house: House, call: Call, agent: Agent) -> list[Task]:
    """Its open tasks that the caller may see, the newest of them first."""
    if not await _knows(house, call, agent):
        return [row for row in await seen.open_tasks(house, call) if row.agent == agent.name][:TASKS]
    rows = await house.env.store.find(Task, {"agent": agent.name, "state": "open"}, limit=TASKS)
    return sorted(rows, key=lambda row: -row.opened_at)


async def _identities(house: House, call: Call, agent: Agent) -> list[dict[str, Any]]:
    rows = await house.env.store.find(Identity, {"agent": agent.name}, limit=100)
    names = ("jkt", "spiffe_id", "method", "evidence", "code", "proved_at", "expires_at")
    newest = sorted(rows, key=lambda row: -row.proved_at)
    return [{**{name: getattr(row, name) for name in names}, "stale": stale(row, agent, call.now)} for row in newest]


async def _access(house: House, call: Call, agent: Agent, granted: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Each tool that its purposes grant, and when it was last permitted one; to whom the log is open."""
    if not await _knows(house, call, agent):
        return []
    found = [
        {"tool": tool, "purposes": by, "last_permit": await last_permit(house.log, agent.name, tool)}
        for tool, by in sorted(granted.items())[:TOOLS]
    ]
    return sorted(found, key=lambda access: (access["last_permit"] > 0, access["tool"]))


async def _without(house: House, call: Call, agent: Agent) -> list[str]:
    """What a review took away; as much of anybody's business as what it uses."""
    row = await house.env.narrowing(agent.name)
    return [str(held) for held in row.without] if await _knows(house, call, agent) else []


async def _alive(house: House, tasks: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for task in tasks:
        rows = await house.env.store.find(Lease, {"task": task}, limit=TASKS)
        found += [shapes.lease(row) for row in rows if row.state is not LeaseState.ENDED]
    return found
