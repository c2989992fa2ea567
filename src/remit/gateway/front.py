"""The MCP server that agents see: tools, and resources and prompts where a purpose grants them; nothing else exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.server.lowlevel.server import Server

from remit import __version__

from .enforce import Enforcer
from .seat import Seat


def front(
    enforcer: Enforcer, seat_of: Callable[[Any], Seat], schema_of: Callable[[str], Any] = lambda name: None
) -> Server[Any]:
    """`seat_of` finds the seat of a request, `schema_of` a tool's input schema for its `Mcp-Param-*` headers.

    A method without a handler here is unknown, and refused by the SDK.

    A server's log messages are not passed on: MCP has deprecated them (SEP-2577), and nobody reviewed what they say;
    nor are its name and instructions, which no pin covers.
    """

    async def list_tools(ctx: Any, params: Any) -> Any:
        return await enforcer.list_tools(seat_of(ctx), ctx)

    async def call_tool(ctx: Any, params: Any) -> Any:
        return await enforcer.call_tool(seat_of(ctx), ctx, params)

    async def list_resources(ctx: Any, params: Any) -> Any:
        return await enforcer.list_resources(seat_of(ctx), ctx)

    async def list_templates(ctx: Any, params: Any) -> Any:
        return await enforcer.list_templates(seat_of(ctx), ctx)

    async def read_resource(ctx: Any, params: Any) -> Any:
        return await enforcer.read_resource(seat_of(ctx), ctx, params)

    async def list_prompts(ctx: Any, params: Any) -> Any:
        return await enforcer.list_prompts(seat_of(ctx), ctx)

    async def get_prompt(ctx: Any, params: Any) -> Any:
        return await enforcer.get_prompt(seat_of(ctx), ctx, params)

    return Server(
        "remit",
        version=__version__,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        get_tool_input_schema=schema_of,
    )
