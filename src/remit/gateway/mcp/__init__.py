"""An enforcement point for any stdio MCP server, beside the agent: every call is decided before it is forwarded.

It is a *hook*: whoever can start processes here can go around it. `serve` is the same, where agents cannot.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_bytes
from typing import Any

import anyio
from mcp import stdio_server

from remit.domain.catalogue import ServerConfig
from remit.formats.mcp_pin import pinned
from remit_client import AsyncRemit, AsyncTask, Denied, RemitError

from ..asks import AgentAsks, Desk
from ..secrets import Injected, NoSecrets, enforcer_key, injected
from .beside import COMPLETE, Beside
from .bridge import bridge
from .enforce import PROMPTS, RESOURCES
from .front import Front, front
from .heard import LOGGING, SUBSCRIBE
from .held import Records
from .relay import Face
from .seat import Seat, catalogue_name
from .serve import quiet_sdk
from .stdio import standard_streams
from .upstream import FAILURES, Upstream, connected, first


async def describe(config: ServerConfig, server: str = "", token: str = "") -> list[tuple[str, dict[str, Any], str]]:
    """A live server's tools, and what else it offers: (catalogue name, what a pin covers, pin).

    What cannot be pinned has none: `''`. `token` is whoever reviews it's own, for a server at a URL that wants one.
    """
    quiet_sdk()
    held = Injected({"Authorization": token}) if token and config.url else NoSecrets
    async with connected(config, held=held) as upstream:
        try:
            tools = await upstream.tools()
        except FAILURES as failure:
            raise RemitError(f"The MCP server does not list its tools: {first(failure)}") from failure
        found = [(catalogue_name(server, t["name"]), pinned(t, upstream.origin), upstream.pin(t)) for t in tools]
        session, there = upstream.client.session, set()
        for method, listing in ((RESOURCES, session.list_resources), (PROMPTS, session.list_prompts)):
            with suppress(*FAILURES):  # it has none
                if not _items(await listing()):
                    continue
                name, pin = catalogue_name(server, method.replace("/", ".")), upstream.pin_of_method(method)
                found.append((name, {"method": method, "server": upstream.origin or {}}, pin))
                there.add(method)
        for method in _beside(upstream, RESOURCES in there):
            name, pin = catalogue_name(server, method.replace("/", ".")), upstream.pin_of_method(method)
            found.append((name, {"method": method, "server": upstream.origin or {}}, pin))
    return found


def _beside(upstream: Upstream, resources: bool) -> list[str]:
    can = upstream.client.server_capabilities
    changing = resources and can.resources and can.resources.subscribe
    has = {COMPLETE: can.completions, LOGGING: can.logging, SUBSCRIBE: changing}
    return [method for method, there in has.items() if there]


def _items(page: Any) -> list[Any]:
    return list(getattr(page, "resources", None) or getattr(page, "prompts", None) or [])


async def run(
    command: list[str],
    *,
    purpose: str,
    goal: str = "",
    parameters: Mapping[str, str] | None = None,
    task: str = "",
    server: str = "",
    wait_budget_s: float = 20,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    gateway: str = "",
    edge: str = "",
    remit: AsyncRemit | None = None,
) -> None:
    """Serve MCP on our stdin and stdout until they close or a signal comes; a task opened here ends on the way out.

    In front of `command`, or, with no command, of all that the gateway at the URL `gateway` has for this task.

    The server gets a minimal environment and `env`, never the agent's own: no REMIT_ variable reaches it. `secrets`
    are credentials of the task by the variable that the server gets them in, and the agent never does: the server is
    stopped as soon as the lease of one is over. Raises `RemitError` when there is no task to be had, or no server.
    """
    quiet_sdk()
    remit = remit or AsyncRemit()
    remit.agent.edge = edge.rstrip("/") or remit.agent.edge
    desk = Desk(remit.agent.url, enforcer_key(), remit.agent.edge) if secrets else None
    opened = remit.adopt(purpose, task) if task else remit.propose(purpose, goal, parameters or {})
    serving = anyio.CancelScope()
    _on_signals(serving.cancel)
    try:
        async with opened as within:
            held = NoSecrets
            with serving:
                if gateway:
                    await bridge(within, gateway)
                    return
                async with (
                    injected(desk, within.id, secrets or {}, serving.cancel) as held,
                    connected(ServerConfig(server, tuple(command)), env, held) as upstream,
                    stdio_server(*standard_streams()) as (reader, writer),
                ):
                    shown = enforcement_point(within, upstream, wait_budget_s)
                    await shown.primed()
                    await shown.run(reader, writer, shown.create_initialization_options())
            if held.over.is_set():
                raise Denied("A secret's lease is over, so its server was stopped.", reasons=("lease_over",))
            if serving.cancelled_caught and not task:
                await within.end("stopped by a signal")
    finally:
        if desk is not None:
            await desk.close()
        await remit.close()


def enforcement_point(task: AsyncTask, upstream: Upstream, wait_budget_s: float) -> Front:
    """One agent's task in front of one MCP server. What it seals, nobody opens after it has ended."""
    seat = Seat(task.id, AgentAsks(task), (upstream.config.name,), _Only(upstream))
    shown = front(Beside(Records(token_bytes(32)), wait_budget_s), lambda ctx: seat)
    shown.seat = lambda: seat
    return shown


@dataclass(frozen=True)
class _Only:
    upstream: Upstream

    async def session(self, server: str, face: Face) -> Upstream:
        """See `seat.Sessions`."""
        return self.upstream


def _on_signals(stop: Callable[[], None]) -> None:
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        with suppress(NotImplementedError, AttributeError):  # Windows
            asyncio.get_running_loop().add_signal_handler(getattr(signal, name), stop)
