"""The one way a call passes: pinned as reviewed, decided, forwarded, checked, observed, and only then answered.

What a model is told never names a policy: it says what to ask for and of whom.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from remit.domain.errors import BadToken
from remit.formats.jcs import digest
from remit.formats.mcp_pin import shown
from remit_client import Denied, Held, RemitError

from . import relay, results
from .held import Key, Record, Records
from .seat import Seat, catalogue_name
from .upstream import FAILURES, ListTooLong, Upstream, first

POLL = 2.0
ROUNDS = 10


class Enforcer:
    """What every front shares. `wait_budget_s` is how long a held call waits before it is answered as held."""

    def __init__(self, records: Records, wait_budget_s: float) -> None:
        self.records = records
        self.budget = wait_budget_s

    # --- lists ---

    async def list_tools(self, seat: Seat) -> types.ListToolsResult:
        """The reviewed tools, as reviewed, that this task's scope names. One server's failure hides its tools alone."""
        try:
            grants = await seat.grants(now=True)
        except RemitError as error:
            raise MCPError(types.INTERNAL_ERROR, f"Remit did not answer, so no tool is offered. {error}") from error
        found: list[types.Tool] = []
        for server in seat.servers:
            if not any(name.startswith(catalogue_name(server, "")) for name in grants):
                continue
            try:
                upstream = await seat.sessions.session(server)
                offered = await upstream.tools()
            except (*FAILURES, RemitError) as failure:
                if len(seat.servers) == 1:
                    raise MCPError(types.INTERNAL_ERROR, f"The tools' server failed: {_ours(failure)}") from failure
                continue
            for tool in offered:
                wanted = grants.get(catalogue_name(server, tool["name"]))
                if wanted and wanted == upstream.pin(tool) and not upstream.held.shows_in(json.dumps(tool)):
                    named = {**shown(tool), "name": seat.exposed(server, tool["name"])}
                    found.append(types.Tool.model_validate(named))
        return types.ListToolsResult(tools=found)

    # --- calls ---

    async def call_tool(self, seat: Seat, front: Any, params: types.CallToolRequestParams) -> Any:
        """`tools/call`: whatever happens becomes an answer that says what to do next."""
        arguments = dict(params.arguments or {})
        try:
            server, tool = seat.named(params.name)
            if not server and len(seat.servers) > 1:
                raise Denied(f"There is no tool {params.name}.", reasons=("tool_unknown",), next_step="List the tools.")
            name = catalogue_name(server, tool)
            call = _Call(self, seat, front, server, tool, name, arguments, (seat.who, name, digest(arguments)))
            return await call.answer(params)
        except Held as held:
            return results.held(held)
        except RemitError as error:
            return results.refused(error)
        except BadToken as bad:
            raise MCPError(types.INVALID_PARAMS, f"{bad.message} {bad.next_step}") from bad


class _Call:
    """One `tools/call` on its way through."""

    def __init__(
        self,
        enforcer: Enforcer,
        seat: Seat,
        front: Any,
        server: str,
        tool: str,
        name: str,
        arguments: dict[str, Any],
        key: Key,
    ) -> None:
        self._enforcer, self._records = enforcer, enforcer.records
        self._seat, self._front = seat, front
        self._server, self._tool, self._name = server, tool, name
        self._arguments, self._key = arguments, key
        self._answers: dict[str, Any] = {}

    async def answer(self, params: types.CallToolRequestParams) -> Any:
        approval = ""
        if params.request_state is not None:
            state = self._records.open(params.request_state, self._key)
            approval = state.approval
            if state.upstream is not None:
                self._answers = {"input_responses": params.input_responses, "request_state": state.upstream or None}
            declined = [r for r in (params.input_responses or {}).values() if getattr(r, "action", "") != "accept"]
            if approval and declined and (record := self._records.get(self._key)) and not record.settled_at:
                return results.held(record.held)
        record = self._records.get(self._key)
        if record is None and approval:
            await self._refuse_used(approval)
        if record is None:
            try:
                upstream, approved = await self._decide()
            except Held as held:
                record = self._records.start(self._key, held, await self._earlier(held))
            else:
                if not approved:
                    return await self._forward(upstream)
                record = self._records.start(self._key, Held("", approval="", url=""))
                return await self._records.execute(record, lambda: self._forward(upstream))
        return await self._wait(record)

    async def _decide(self) -> tuple[Upstream, bool]:
        """Permit, and whether a person's yes was used up for it; else raises.

        It is decided on the description last read, and holds only if the one read meanwhile is the same.
        """
        try:
            upstream = await self._seat.sessions.session(self._server)
            last = upstream.last(self._tool)
            if last is None:
                await upstream.tools()
                last = upstream.last(self._tool)
                if last is None:
                    said = f"There is no tool {self._tool}."
                    raise Denied(said, reasons=("tool_unknown",), next_step="List the tools.")
                return upstream, await self._ask(upstream.pin(last))
            asking = asyncio.ensure_future(self._ask(upstream.pin(last)))
            try:
                await upstream.tools()
            finally:
                await asyncio.wait([asking])
            now = upstream.last(self._tool)
            if now is None or upstream.pin(now) != upstream.pin(last):
                asking.exception()  # whatever it was, it was about another description
                approved = await self._ask(upstream.pin(now) if now else "")
            else:
                approved = await asking
        except FAILURES as failure:
            said = f"The tool's server failed before anything was decided: {_ours(failure)}. Nothing was done."
            raise _ServerFailed(said) from failure
        return upstream, approved

    async def _ask(self, pin: str) -> bool:
        wanted = (await self._seat.grants()).get(self._name) or (await self._seat.grants(now=True)).get(self._name)
        if wanted == "":
            # A decision has nothing to compare then, and any description would pass.
            said = f"Nobody has reviewed how an MCP server describes {self._name!r}."
            raise Denied(said, reasons=("tool_unknown",))
        approved = await self._seat.asks.decide(self._name, self._arguments, pin)
        if not pin or not wanted:
            raise Denied(f"Nobody has reviewed {self._name!r} for this task.", reasons=("tool_unknown",))
        return approved

    # --- held ---

    async def _wait(self, record: Record) -> Any:
        """Until it is executed or the budget is spent; then what the client can act on."""
        began = time.monotonic()
        budget, front = self._enforcer.budget, self._front
        telling = asyncio.create_task(self._tell(record.held))
        try:
            while True:
                if record.settled_at and record.outcome is None:
                    return results.refusal("permit", _GONE.format(self._name), {"executed": True})
                if record.settled_at:
                    return results.replayed(record.outcome)
                spent = time.monotonic() - began
                if spent < budget and record.running is None:
                    message = f"waiting for {', '.join(record.held.approvers)}: {record.held.url}"
                    await front.session.report_progress(spent, budget, message)
                if record.running is not None or await self._answered(record, budget - spent):
                    try:
                        return await self._records.execute(record, self._once)
                    except Held:
                        continue
                if time.monotonic() - began >= budget or (telling.done() and telling.result()):
                    return self._still_held(record)
        finally:
            telling.cancel()

    async def _answered(self, record: Record, left: float) -> bool:
        try:
            if left > 0:
                return await self._seat.asks.wait_for(record.held.approval, min(POLL, left))
            state = (await self._seat.asks.approval(record.held.approval)).get("state")
        except Denied:
            self._records.drop(record)
            raise
        return state != "pending"

    async def _once(self) -> Any:
        upstream, _ = await self._decide()
        return await self._forward(upstream)

    def _still_held(self, record: Record) -> Any:
        capabilities = self._front.session.client_capabilities
        elicits = capabilities is not None and capabilities.elicitation is not None
        if self._front.protocol_version in MODERN_PROTOCOL_VERSIONS and elicits and capabilities.elicitation.url:
            url = types.ElicitRequestURLParams(message=_please(record.held), url=record.held.url)
            return types.InputRequiredResult(
                input_requests={"approval": types.ElicitRequest(params=url)},
                request_state=self._records.seal(self._key, approval=record.held.approval),
            )
        return results.held(record.held, record.note)

    async def _tell(self, held: Held) -> bool:
        """2025-11-25: show the page through the client; True when the person there does not want to see it."""
        session = self._front.session
        capabilities = session.client_capabilities
        elicits = capabilities is not None and capabilities.elicitation is not None and capabilities.elicitation.url
        if not elicits or not session.can_send_request:
            return False
        try:
            number = self._front.request_id
            answer = await session.elicit_url(_please(held), held.url, held.approval, related_request_id=number)
        except Exception:  # a client that cannot is a client that waits
            return False
        return bool(answer.action != "accept")

    async def _refuse_used(self, approval: str) -> None:
        """After a restart the state still opens: it tells whether that approval was used, and so the call executed."""
        if (await self._seat.asks.approval(approval)).get("state") == "used":
            raise Denied(_GONE.format(self._name), reasons=("executed_before",), next_step="Call again to ask anew.")

    async def _earlier(self, held: Held) -> str:
        """What to say of exactly the same call that was executed before, and whose outcome nobody has any more."""
        try:
            earlier = (await self._seat.asks.approval(held.approval)).get("earlier", [])
        except RemitError:
            return ""
        if any(one.get("state") == "used" for one in earlier if isinstance(one, dict)):
            return _GONE.format(self._name) + " It is executed again only if they agree again."
        return ""

    # --- forwarding ---

    async def _forward(self, upstream: Upstream) -> Any:
        front, answers = self._front, dict(self._answers)
        try:
            for _ in range(ROUNDS):
                result = await upstream.call(self._tool, self._arguments, front, **answers)
                if not isinstance(result, types.InputRequiredResult):
                    break
                if flaw := self._asks_too_much(upstream, result):
                    return results.failed(flaw)
                await self._observe([r.model_dump(mode="json") for r in (result.input_requests or {}).values()])
                if front.protocol_version in MODERN_PROTOCOL_VERSIONS:
                    state = self._records.seal(self._key, upstream=result.request_state or "")
                    return result.model_copy(update={"request_state": state, "meta": None})
                asked = {key: await relay.ask(front, r.params) for key, r in (result.input_requests or {}).items()}
                if any(isinstance(answer, types.ErrorData) for answer in asked.values()):
                    return results.failed("The tool asked for what the agent's side did not give.")
                answers = {"input_responses": asked, "request_state": result.request_state}
            else:
                return results.failed(f"The tool asked more than {ROUNDS} times.")
        except RemitError as error:
            return results.failed(f"The tool's answer could not be recorded, so it is not given. {error}")
        except Exception as failure:  # whatever a server does, it becomes an answer
            return await self._observed(upstream, _failure(failure, upstream))
        if flaw := results.flaw(result, upstream.held):
            return results.failed(flaw)
        return await self._observed(upstream, results.given(result))

    def _asks_too_much(self, upstream: Upstream, result: types.InputRequiredResult) -> str:
        if not all(upstream.relay.may_ask(request) for request in (result.input_requests or {}).values()):
            return "The tool asked for something of this side that its server may not ask for."
        return results.flaw(result, upstream.held)

    async def _observed(self, upstream: Upstream, result: types.CallToolResult) -> types.CallToolResult:
        try:
            await self._observe(results.observed(result))
        except RemitError as error:
            return results.failed(
                f"The tool answered, and its answer could not be recorded, so it is not given. {error}"
            )
        return result

    async def _observe(self, content: Any) -> None:
        await self._seat.asks.observe(self._name, content)


class _ServerFailed(Denied):
    """Nothing was decided, and nothing was done."""

    def __init__(self, said: str) -> None:
        super().__init__(said, reasons=("server_failed",))


_GONE = "{} was executed once with exactly these arguments, and its outcome is no longer kept here."


def _please(held: Held) -> str:
    return f"A person must agree first ({', '.join(held.approvers)}). This is their page."


def _ours(failure: BaseException) -> str:
    """What may be said of a failure before anybody observes a server's words: our own, or its kind."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return str(failure) if isinstance(failure, ListTooLong | RemitError) else type(failure).__name__


def _failure(failure: BaseException, upstream: Upstream) -> types.CallToolResult:
    said = f"The tool's server failed: {upstream.held.without(first(failure))[:2000]}. Whether it acted is not known."
    return results.failed(said)
