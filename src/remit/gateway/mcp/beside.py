"""What an agent may ask beside calls: completions, a level of log messages, to be told when a resource changes.

Each is a catalogue tool of its server's, like its resources are: `SERVER.completion.complete`,
`SERVER.logging.setlevel`, `SERVER.resources.subscribe`; granted, pinned to the server, and decided. Where nobody
granted it, it does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import mcp_types as types
from mcp import MCPError

from remit_client import Denied, Held, RemitError

from . import results
from .enforce import RESOURCES, Enforcer
from .heard import LOGGING, SUBSCRIBE, URIS, Listener
from .held import Records
from .relay import face_of
from .seat import Seat, catalogue_name
from .stream import Stream
from .upstream import FAILURES, Upstream, ours

COMPLETE = "completion/complete"
METHODS = (COMPLETE, LOGGING, SUBSCRIBE)


class Beside(Enforcer):
    """An enforcer of this too. Nobody waits here for a person: what is held is an error that says so."""

    def __init__(self, records: Records, wait_budget_s: float) -> None:
        super().__init__(records, wait_budget_s)
        self._telling: set[asyncio.Task[None]] = set()

    async def complete(self, seat: Seat, front: Any, params: types.CompleteRequestParams) -> Any:
        """`completion/complete`: what was typed so far goes to the server, so it is decided; what comes is observed."""
        if isinstance(params.ref, types.PromptReference):
            server, own = seat.named(params.ref.name)
            ref: Any = types.PromptReference(type="ref/prompt", name=own)
        else:
            server, own = await self._of_template(seat, front, params.ref.uri), params.ref.uri
            ref = types.ResourceTemplateReference(type="ref/resource", uri=own)
        context = dict((params.context.arguments if params.context else None) or {})
        typed = {"name": params.argument.name, "value": params.argument.value}
        arguments = {"of": own, "argument": typed["name"], "value": typed["value"], "others": context}
        upstream = await self._permitted(seat, front, server, COMPLETE, arguments)
        result = await _answer(upstream.ask(upstream.client.session.complete(ref, typed, context or None), None))
        if flaw := results.flaw(result, upstream.held):
            raise MCPError(types.INTERNAL_ERROR, flaw)
        try:
            await seat.asks.observe(catalogue_name(server, "completion.complete"), results.observed(result))
        except RemitError as error:
            raise MCPError(types.INTERNAL_ERROR, "The answer could not be recorded, so it is not given.") from error
        return results.given(result)

    async def set_level(self, seat: Seat, front: Any, params: types.SetLevelRequestParams) -> types.EmptyResult:
        """`logging/setLevel` of 2025-11-25, at every server whose log messages this task may read."""
        servers = [s async for s, _ in self._servers(seat, front, await self._grants(seat), LOGGING)]
        if not servers:
            raise _unknown(LOGGING)
        for server in servers:
            upstream = await self._permitted(seat, front, server, LOGGING, {"level": params.level})
            upstream.relay.heard.level = params.level
            if not upstream.modern:  # there it goes with each request
                request = types.SetLevelRequest(params=types.SetLevelRequestParams(level=params.level))
                await _answer(upstream.ask(upstream.client.session.send_request(request, types.EmptyResult), None))
        return types.EmptyResult()

    async def subscribe(self, seat: Seat, front: Any, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """`resources/subscribe` of 2025-11-25. Reading what has changed is decided when it is read."""
        uri, session = str(params.uri), front.session
        told = Listener(lambda: session.send_resource_updated(uri))
        await self._watch(seat, front, uri, _client(seat, front), told)
        return types.EmptyResult()

    async def unsubscribe(self, seat: Seat, front: Any, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """`resources/unsubscribe`: it only narrows, so nobody decides."""
        uri = str(params.uri)
        found = [u async for _, u in self._servers(seat, front, await self._grants(seat), SUBSCRIBE)]
        if not found:
            raise _unknown("resources/unsubscribe")
        for upstream in found:
            if uri in upstream.relay.heard.uris and upstream.relay.heard.leave(uri, _client(seat, front)):
                await _answer(upstream.unwatch(uri))
        return types.EmptyResult()

    async def listen(self, seat: Seat, front: Any, params: Any) -> types.SubscriptionsListenResult:
        """`subscriptions/listen` of 2026-07-28, for as long as the client reads it.

        Of what can be asked there, resources pass, one grant and one decision each as for `resources/subscribe`; what
        is not acknowledged does not.
        """
        wanted = dict.fromkeys(params.notifications.resource_subscriptions or ())
        if not [s async for s, _ in self._servers(seat, front, await self._grants(seat), SUBSCRIBE)]:
            raise _unknown("subscriptions/listen")
        if len(wanted) > URIS:
            raise MCPError(types.INVALID_REQUEST, f"At most {URIS} resources for each stream.")
        stream, heard = Stream(front), dict[str, Upstream]()
        try:
            for uri in wanted:
                with suppress(MCPError):
                    heard[uri] = await self._watch(seat, front, uri, stream.name, stream.listener(uri))
            return await stream.run(list(heard))
        finally:
            for uri, upstream in heard.items():
                self._forget(upstream, uri, stream.name)

    async def _watch(self, seat: Seat, front: Any, uri: str, who: str, listener: Listener) -> Upstream:
        server = await self._of_resource(seat, front, uri)
        upstream = await self._permitted(seat, front, server, SUBSCRIBE, {"uri": uri})
        name, pin = catalogue_name(server, "resources.subscribe"), upstream.pin_of_method(SUBSCRIBE)

        async def tell() -> None:
            if (await seat.grants()).get(name) != pin:
                raise Denied("It is not granted any more.", reasons=("tool_unknown",))
            await listener.tell()

        if not upstream.relay.heard.listen(uri, who, Listener(tell, listener.lost)):
            raise MCPError(types.INVALID_REQUEST, "Too many subscriptions; unsubscribe from others first.")
        try:
            await _answer(upstream.watch(uri))
        except (MCPError, asyncio.CancelledError):
            self._forget(upstream, uri, who)
            raise
        return upstream

    def _forget(self, upstream: Upstream, uri: str, who: str) -> None:
        """When whoever listened has gone: nobody waits for the server to be told."""
        if uri in upstream.relay.heard.uris and upstream.relay.heard.leave(uri, who):
            telling = asyncio.create_task(_quietly(upstream.unwatch(uri)))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def _permitted(self, seat: Seat, front: Any, server: str, method: str, arguments: Any) -> Upstream:
        name = catalogue_name(server, method.replace("/", "."))
        wanted = (await self._grants(seat)).get(name)
        if not wanted:
            raise _unknown(method)
        try:
            upstream = await seat.sessions.session(server, face_of(front))
            pin = upstream.pin_of_method(method)
            await seat.asks.decide(name, arguments, pin)
        except RemitError as error:
            told = results.held(error) if isinstance(error, Held) else results.refused(error)
            said = getattr(told.content[0], "text", "")
            raise MCPError(types.INVALID_REQUEST, said, told.structured_content) from error
        if pin != wanted:
            raise _unknown(method)
        return upstream

    async def _of_resource(self, seat: Seat, front: Any, uri: str) -> str:
        return await self._only(seat, front, SUBSCRIBE, "list_resources", "resources", uri)

    async def _of_template(self, seat: Seat, front: Any, uri: str) -> str:
        return await self._only(seat, front, COMPLETE, "list_resource_templates", "resource_templates", uri)

    async def _only(self, seat: Seat, front: Any, method: str, ask: str, member: str, uri: str) -> str:
        """The one server granted for it; of several, the one that lists this URI to a task that may read there."""
        granted = [s async for s, _ in self._servers(seat, front, await self._grants(seat), method)]
        if len(granted) > 1:
            items = await self._listed(seat, front, RESOURCES, ask, member)
            named = [s for s, i in items if str(getattr(i, "uri", "") or getattr(i, "uri_template", "")) == uri]
            granted = [server for server in named if server in granted]
        if len(granted) != 1:
            raise _unknown(method)
        return granted[0]


async def _answer(asked: Awaitable[Any]) -> Any:
    """Of a failure only our own words, and its code where MCP gives that a meaning."""
    try:
        return await asked
    except FAILURES as failure:
        wrong = isinstance(failure, MCPError) and failure.code == types.INVALID_PARAMS
        code = types.INVALID_PARAMS if wrong else types.INTERNAL_ERROR
        raise MCPError(code, f"The server failed: {ours(failure)}.") from failure


async def _quietly(asked: Awaitable[Any]) -> None:
    with suppress(*FAILURES):
        await asked


def _unknown(method: str) -> MCPError:
    """As the SDK says it of a method that nobody serves."""
    return MCPError(types.METHOD_NOT_FOUND, "Method not found", method)


def _client(seat: Seat, front: Any) -> str:
    headers = getattr(front.request, "headers", None) or {}
    return f"{seat.who} {headers.get('mcp-session-id', '')}"
