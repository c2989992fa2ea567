"""What agents may see and ask: tools by their reviewed pins; resources and prompts where a purpose grants them.

To read a server's resources is the catalogue tool `SERVER.resources.read`, to get its prompts `SERVER.prompts.get`:
granted, pinned to the server, decided and observed like any other. What a model is told never names a policy.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import mcp_types as types
from mcp import MCPError

from remit.domain.errors import BadField, BadToken
from remit.formats.mcp_pin import shown
from remit_client import Denied, Held, RemitError

from . import results
from .call import Asked, Passing
from .held import Records
from .relay import face_of
from .seat import Seat, catalogue_name
from .upstream import FAILURES, Upstream, ours

PROMPTS, RESOURCES = "prompts/get", "resources/read"


class Enforcer:
    """What every front shares. `wait_budget_s` is how long a held call waits before it is answered as held."""

    def __init__(self, records: Records, wait_budget_s: float) -> None:
        self.records = records
        self.budget = wait_budget_s

    # --- tools ---

    async def list_tools(self, seat: Seat, front: Any) -> types.ListToolsResult:
        """The reviewed tools, as reviewed, that this task's scope names."""
        grants, found = await self._grants(seat), []
        async for server, upstream in self._servers(seat, front, grants):
            try:
                offered = await upstream.tools()
            except FAILURES as failure:
                _missing(seat, failure)
                continue
            held = upstream.held
            offered = [tool for tool in offered if not held.variables or not held.shows_in(json.dumps(tool))]
            seat.asks.offered(server, [catalogue_name(server, tool["name"]) for tool in offered])
            for tool in offered:
                wanted = grants.get(catalogue_name(server, tool["name"]))
                if wanted and wanted == upstream.pin(tool):
                    named = {**shown(tool), "name": seat.exposed(server, tool["name"])}
                    found.append(types.Tool.model_validate(named))
        return types.ListToolsResult(tools=found)

    async def call_tool(self, seat: Seat, front: Any, params: types.CallToolRequestParams) -> Any:
        """`tools/call`: whatever happens becomes an answer that says what to do next."""
        arguments = dict(params.arguments or {})
        try:
            server, own = seat.named(params.name)
            asked = Asked("tools/call", server, own, catalogue_name(server, own), arguments)
            return results.rendered(await self._outcome(seat, front, asked, params))
        except Held as held:
            return results.held(held)
        except RemitError as error:
            return results.refused(error)
        except BadField as bad:
            said = f"Denied (bad_arguments): {bad.message}"
            return results.refusal("deny", said, {"reasons": ["bad_arguments"]})

    # --- resources and prompts ---

    async def list_resources(self, seat: Seat, front: Any) -> types.ListResourcesResult:
        """What the servers whose resources this task may read list now."""
        items = await self._listed(seat, front, RESOURCES, "list_resources", "resources")
        found = [r.model_copy(update={"meta": None, "icons": None}) for _, r in items]
        return types.ListResourcesResult(resources=found)

    async def list_templates(self, seat: Seat, front: Any) -> types.ListResourceTemplatesResult:
        """The same of templates."""
        items = await self._listed(seat, front, RESOURCES, "list_resource_templates", "resource_templates")
        found = [r.model_copy(update={"meta": None, "icons": None}) for _, r in items]
        return types.ListResourceTemplatesResult(resource_templates=found)

    async def read_resource(self, seat: Seat, front: Any, params: types.ReadResourceRequestParams) -> Any:
        """From the one server that lists this URI, or the only one whose resources this task may read."""
        grants = await self._grants(seat)
        granted = [server async for server, _ in self._servers(seat, front, grants, RESOURCES)]
        if len(granted) > 1:
            items = await self._listed(seat, front, RESOURCES, "list_resources", "resources")
            granted = [server for server, resource in items if str(resource.uri) == str(params.uri)]
        server = granted[0] if len(granted) == 1 else ""
        name = catalogue_name(server, "resources.read")
        asked = Asked(RESOURCES, server, str(params.uri), name, {"uri": str(params.uri)})
        return await self._other(seat, front, asked, params)

    async def list_prompts(self, seat: Seat, front: Any) -> types.ListPromptsResult:
        """What the servers whose prompts this task may get list now."""
        items = await self._listed(seat, front, PROMPTS, "list_prompts", "prompts")
        named = [(p, seat.exposed(server, p.name)) for server, p in items]
        prompts = [p.model_copy(update={"name": name, "meta": None, "icons": None}) for p, name in named]
        return types.ListPromptsResult(prompts=prompts)

    async def get_prompt(self, seat: Seat, front: Any, params: types.GetPromptRequestParams) -> Any:
        """One prompt."""
        server, own = seat.named(params.name)
        arguments = {"name": own, "arguments": dict(params.arguments or {})}
        return await self._other(
            seat, front, Asked(PROMPTS, server, own, catalogue_name(server, "prompts.get"), arguments), params
        )

    # --- in common ---

    async def _outcome(self, seat: Seat, front: Any, asked: Asked, params: Any) -> Any:
        if asked.server not in seat.servers:
            raise Denied(f"There is nothing called {asked.own!r}.", reasons=("tool_unknown",))
        try:
            outcome = await Passing(self.records, self.budget, seat, front, asked).outcome(params)
            if isinstance(outcome, results.Failure) and outcome.code:
                raise MCPError(outcome.code, outcome.said, outcome.data)
            return outcome
        except BadToken as bad:
            raise MCPError(types.INVALID_PARAMS, f"{bad.message} {bad.next_step}") from bad

    async def _other(self, seat: Seat, front: Any, asked: Asked, params: Any) -> Any:
        """For what has no results of its own to say no with: an error, with the same for programs in its data."""
        try:
            result = results.rendered(await self._outcome(seat, front, asked, params))
        except Held as held:
            result = results.held(held)
        except RemitError as error:
            result = results.refused(error)
        if not isinstance(result, types.CallToolResult):
            return result
        said = getattr(result.content[0], "text", "")
        raise MCPError(types.INVALID_REQUEST, said, result.structured_content)

    async def _grants(self, seat: Seat) -> dict[str, str]:
        try:
            return await seat.grants(now=True)
        except RemitError as error:
            raise MCPError(types.INTERNAL_ERROR, f"Remit did not answer, so nothing is offered. {error}") from error

    async def _servers(
        self, seat: Seat, front: Any, grants: dict[str, str], method: str = ""
    ) -> AsyncIterator[tuple[str, Upstream]]:
        """The servers the task has grants of. One that fails hides what is its own, and is the answer when alone."""
        for server in seat.servers:
            wanted = catalogue_name(server, method.replace("/", "."))
            if not (grants.get(wanted) if method else any(name.startswith(wanted) for name in grants)):
                continue
            try:
                upstream = await seat.sessions.session(server, face_of(front))
            except RemitError as failure:
                _missing(seat, failure)
                continue
            if not method or upstream.pin_of_method(method) == grants[wanted]:
                yield server, upstream

    async def _listed(self, seat: Seat, front: Any, method: str, ask: str, member: str) -> list[tuple[str, Any]]:
        """What nobody has reviewed, and the agent is about to read: so it is observed before."""
        found: list[tuple[str, Any]] = []
        async for server, upstream in self._servers(seat, front, await self._grants(seat), method):
            try:
                page = await upstream.ask(getattr(upstream.client.session, ask)(), None)
                flaw = results.flaw(page, upstream.held)
                if not flaw:
                    name = catalogue_name(server, method.replace("/", "."))
                    await seat.asks.observe(name, results.observed(page))
                    found += [(server, item) for item in getattr(page, member)]
            except (*FAILURES, RemitError) as failure:
                _missing(seat, failure)
        return found


def _missing(seat: Seat, failure: BaseException) -> None:
    if len(seat.servers) == 1:
        raise MCPError(types.INTERNAL_ERROR, f"The tools' server failed: {ours(failure)}") from failure
