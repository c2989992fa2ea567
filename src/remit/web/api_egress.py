"""What an egress asks: which requests are calls of which reviewed tools."""

from __future__ import annotations

from dataclasses import asdict

from starlette.responses import Response

from remit.domain.caller import Call

from .house import Asked, House
from .problems import json_response


async def http_tools(house: House, call: Call, asked: Asked) -> Response:
    """The HTTP tools of the catalogue in force, with the pin that a call of each must show."""
    head, force = await house.env.in_force()
    tools = [tool for _, tool in sorted(force.catalogue.tools.items()) if tool.http]
    items = [{"name": t.name, "pin": t.pin, "http": asdict(t.http), "schema": t.schema} for t in tools if t.http]
    return json_response({"catalogue": head.digest, "items": items})
