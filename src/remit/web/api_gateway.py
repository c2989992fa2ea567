"""What enforcement points in front of MCP servers ask: which servers there are, and which tools a task may try."""

from __future__ import annotations

from dataclasses import asdict

from starlette.responses import Response

from remit.domain.caller import Call

from .api_agents import visible
from .house import Asked, House
from .problems import json_response


async def servers(house: House, call: Call, asked: Asked) -> Response:
    """The MCP servers of the catalogue in force; what they are started with names credentials, and holds none."""
    head, force = await house.env.in_force()
    found = force.catalogue.servers
    items = [asdict(found[name]) for name in sorted(found)]
    return json_response({"catalogue": head.digest, "items": items, "bearer": list(force.catalogue.bearer_gateways)})


async def task_tools(house: House, call: Call, asked: Asked) -> Response:
    """The reviewed tools that the task's scope names; whether one call may happen is decided call by call."""
    task = await visible(house, call, asked.path["task"])
    head, force = await house.env.in_force()
    scope = (await house.env.above_of(task)).scope(task)
    named = sorted({grant.tool for grant in scope.grants} & force.catalogue.tools.keys())
    tools = [force.catalogue.tools[name] for name in named] if task.open_at(call.now) else []
    items = [{"name": t.name, "pin": t.pin, "effect": t.effect.word, "title": t.title} for t in tools]
    return json_response({"catalogue": head.digest, "items": items})
