"""The MCP server that agents see: tools, the rest of what servers have where a purpose grants it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import mcp_types as types
from mcp.server.lowlevel.server import Server

from remit import __version__, telemetry
from remit_client import RemitError

from .beside import COMPLETE, METHODS, Beside
from .heard import LOGGING, SUBSCRIBE
from .seat import Seat, catalogue_name


class Front(Server[Any]):
    """`seat` is that of whoever asks now. Of the methods of `beside`, those it is granted are announced."""

    seat: Callable[[], Seat | None] = staticmethod(lambda: None)

    async def primed(self) -> None:
        """Ask what is granted: what is announced goes by that."""
        seat = self.seat()
        with suppress(RemitError):
            if seat is not None:
                await seat.grants()

    def get_capabilities(self, *args: Any, **more: Any) -> types.ServerCapabilities:
        """See the SDK's."""
        found, seat = super().get_capabilities(*args, **more), self.seat()
        offered = _offered(seat) if seat is not None else ()
        resources = found.resources
        if resources is not None and SUBSCRIBE not in offered:
            resources = resources.model_copy(update={"subscribe": False})
        logging = found.logging if LOGGING in offered else None
        completions = found.completions if COMPLETE in offered else None
        return found.model_copy(update={"resources": resources, "logging": logging, "completions": completions})


def headers_of(ctx: Any) -> Mapping[str, str]:
    """Of the HTTP request that it came with; a pipe has none."""
    return getattr(getattr(ctx, "request", None), "headers", {})


def _offered(seat: Seat) -> Collection[str]:
    named = {word.replace("/", "."): word for word in METHODS}
    return [word for end, word in named.items() if any(catalogue_name(s, end) in seat.granted for s in seat.servers)]


def front(
    enforcer: Beside, seat_of: Callable[[Any], Seat], schema_of: Callable[[str], Any] = lambda name: None
) -> Front:
    """`seat_of` finds the seat of a request, `schema_of` a tool's input schema for its `Mcp-Param-*` headers.

    A method without a handler here is unknown, and refused by the SDK.

    A server's name and instructions are not passed on: no pin covers them.
    """

    async def list_tools(ctx: Any, params: Any) -> Any:
        return await enforcer.list_tools(seat_of(ctx), ctx)

    async def call_tool(ctx: Any, params: Any) -> Any:
        with telemetry.asked(headers_of(ctx), params.name):
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

    async def complete(ctx: Any, params: Any) -> Any:
        return await enforcer.complete(seat_of(ctx), ctx, params)

    async def set_level(ctx: Any, params: Any) -> Any:
        return await enforcer.set_level(seat_of(ctx), ctx, params)

    async def subscribe(ctx: Any, params: Any) -> Any:
        return await enforcer.subscribe(seat_of(ctx), ctx, params)

    async def listen(ctx: Any, params: Any) -> Any:
        return await enforcer.listen(seat_of(ctx), ctx, params)

    async def unsubscribe(ctx: Any, params: Any) -> Any:
        return await enforcer.unsubscribe(seat_of(ctx), ctx, params)

    found = Front(
        "remit",
        version=__version__,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_subscriptions_listen=listen,
        get_tool_input_schema=schema_of,
    )
    found.add_request_handler(LOGGING, types.SetLevelRequestParams, set_level)
    return found
