"""The one way a request passes: pinned as reviewed, decided, forwarded, checked, observed, and only then answered."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from remit.formats.jcs import digest
from remit_client import Denied, Held, RemitError

from . import relay, results
from .heard import LOGGING, Logs
from .held import Key, Record, Records
from .results import Failure
from .seat import Seat, catalogue_name
from .upstream import FAILURES, Upstream, first, ours

POLL = 2.0
_CAN = ("elicitation", "sampling", "roots")
ROUNDS = 10


@dataclass(frozen=True)
class Asked:
    """`own` is the server's own name (or URI) for it, `name` the catalogue's; `arguments` are what is decided on."""

    method: str
    server: str
    own: str
    name: str
    arguments: dict[str, Any]


class Passing:
    """One request of one agent on its way through. `front` is the SDK's context of it."""

    def __init__(self, records: Records, budget_s: float, seat: Seat, front: Any, asked: Asked) -> None:
        self._records, self._budget = records, budget_s
        self._seat, self._front, self._asked = seat, front, asked
        self._key: Key = (seat.who, asked.name, digest(asked.arguments))
        self._answers: dict[str, Any] = {}
        self._modern = front.protocol_version in MODERN_PROTOCOL_VERSIONS

    async def outcome(self, params: types.InputResponseRequestParams) -> Any:
        """A result of the server's, a `Failure`, or `input_required`; raises `Denied`, `Held`, `BadToken`."""
        approval = ""
        if params.request_state is not None:
            state = self._records.open(params.request_state, self._key)
            approval = state.approval
            if state.upstream is not None:
                self._answers = {"input_responses": params.input_responses, "request_state": state.upstream or None}
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
                record = self._records.start(self._key, Held("", approval=approval, url=""))
                return await self._records.execute(record, lambda: self._forward(upstream))
        if approval and not record.settled_at and _declined(params.input_responses):
            raise record.held
        return await self._wait(record)

    async def _decide(self) -> tuple[Upstream, bool]:
        """Permit, and whether a person's yes was used up for it; else raises.

        It is decided on the description last read, and holds only if the one read meanwhile is the same.
        """
        asked = self._asked
        try:
            upstream = await self._seat.sessions.session(asked.server, relay.face_of(self._front))
            if asked.method != "tools/call":
                return upstream, await self._ask(upstream.pin_of_method(asked.method))
            last = upstream.last(asked.own)
            if last is None:
                await upstream.tools()
                last = upstream.last(asked.own)
                if last is None:
                    said = f"There is no tool {asked.own}."
                    raise Denied(said, reasons=("tool_unknown",), next_step="List the tools.")
                return upstream, await self._ask(upstream.pin(last))
            asking = asyncio.ensure_future(self._ask(upstream.pin(last)))
            try:
                await upstream.tools()
            finally:
                await asyncio.wait([asking])
            now = upstream.last(asked.own)
            if now is last or (now is not None and upstream.pin(now) == upstream.pin(last)):
                return upstream, await asking
            asking.exception()  # whatever it was, it was about another description
            return upstream, await self._ask(upstream.pin(now) if now else "")
        except FAILURES as failure:
            said = f"The tool's server failed before anything was decided: {ours(failure)}. Nothing was done."
            raise Denied(said, reasons=("server_failed",)) from failure

    async def _ask(self, pin: str) -> bool:
        name = self._asked.name
        wanted = (await self._seat.grants()).get(name) or (await self._seat.grants(now=True)).get(name)
        if wanted == "":
            # A decision has nothing to compare then, and any description would pass.
            raise Denied(f"Nobody has reviewed how an MCP server describes {name!r}.", reasons=("tool_unknown",))
        approved = await self._seat.asks.decide(name, self._asked.arguments, pin)
        if not pin or not wanted:
            raise Denied(f"Nobody has reviewed {name!r} for this task.", reasons=("tool_unknown",))
        return approved

    # --- held ---

    async def _wait(self, record: Record) -> Any:
        """Until it is executed or the budget is spent; then what the client can act on."""
        began = time.monotonic()
        telling = asyncio.create_task(self._tell(record.held))
        try:
            while True:
                if record.settled_at and self._asked.name not in await self._seat.grants(now=True):
                    said = "The task is over, or does not name this any more; nothing is given again."
                    raise Denied(said, reasons=("task_not_open",))
                if record.settled_at and record.outcome is None:
                    return Failure(_gone(self._asked), "permit", {"executed": True})
                if record.settled_at:
                    return results.replayed(record.outcome)
                spent = time.monotonic() - began
                if spent < self._budget and record.running is None:
                    message = f"waiting for {', '.join(record.held.approvers)}: {record.held.url}"
                    await self._front.session.report_progress(spent, self._budget, message)
                if record.running is not None or await self._answered(record, self._budget - spent):
                    try:
                        return await self._records.execute(record, self._once)
                    except Held:
                        continue
                if time.monotonic() - began >= self._budget or (telling.done() and telling.result()):
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
        if not self._modern or not self._elicits_urls():
            raise Held(f"{record.held.message} {record.note}".strip(), **_named(record.held))
        url = types.ElicitRequestURLParams(message=_please(record.held), url=record.held.url)
        return types.InputRequiredResult(
            input_requests={"approval": types.ElicitRequest(params=url)},
            request_state=self._records.seal(self._key, approval=record.held.approval),
        )

    def _elicits_urls(self) -> bool:
        capabilities = self._front.session.client_capabilities
        elicits = capabilities is not None and capabilities.elicitation is not None
        return elicits and capabilities.elicitation.url is not None

    async def _tell(self, held: Held) -> bool:
        """2025-11-25: show the page through the client; True when the person there does not want to see it."""
        session = self._front.session
        if self._modern or not self._elicits_urls() or not session.can_send_request:
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
            raise Denied(_gone(self._asked), reasons=("executed_before",), next_step="Call again to ask anew.")

    async def _earlier(self, held: Held) -> str:
        """What to say of exactly the same call that was executed before, and whose outcome nobody has any more."""
        try:
            earlier = (await self._seat.asks.approval(held.approval)).get("earlier", [])
        except RemitError:
            return ""
        if any(one.get("state") == "used" for one in earlier if isinstance(one, dict)):
            return _gone(self._asked) + " It is executed again only if they agree again."
        return ""

    # --- forwarding ---

    async def _forward(self, upstream: Upstream) -> Any:
        answers = dict(self._answers)
        try:
            for _ in range(ROUNDS):
                result = await self._send(upstream, answers)
                if not isinstance(result, types.InputRequiredResult):
                    break
                requests = result.input_requests or {}
                if not all(upstream.relay.may_ask(request) for request in requests.values()):
                    return Failure("The server asked for something of this side that it may not ask for.")
                if flaw := results.flaw(result, upstream.held):
                    return Failure(flaw)
                await self._observe([request.model_dump(mode="json") for request in requests.values()])
                if self._modern:
                    state = self._records.seal(self._key, upstream=result.request_state or "")
                    return result.model_copy(update={"request_state": state, "meta": None})
                given = {key: await relay.ask(self._front, request) for key, request in requests.items()}
                if any(isinstance(answer, types.ErrorData) for answer in given.values()):
                    return Failure("The server asked for what the agent's side did not give.")
                answers = {"input_responses": given, "request_state": result.request_state}
            else:
                return Failure(f"The server asked more than {ROUNDS} times.")
            if flaw := results.flaw(result, upstream.held):
                return Failure(flaw)
            await self._observe(results.observed(result))
        except RemitError as error:
            return Failure(f"The answer could not be recorded, so it is not given. {error}")
        except Exception as failure:  # whatever a server does, it becomes an answer
            return await self._failed(upstream, failure)
        return results.given(result)

    async def _send(self, upstream: Upstream, answers: dict[str, Any]) -> Any:
        async with upstream.relay.heard.during(await self._logs(upstream), upstream.modern) as meta:
            return await self._sent(upstream, {**answers, "meta": meta} if meta else answers)

    async def _logs(self, upstream: Upstream) -> Logs | None:
        """Where the server's log messages go while it answers; nowhere, if this task may not read them."""
        name = catalogue_name(self._asked.server, LOGGING.replace("/", "."))
        if (await self._seat.grants()).get(name) != upstream.pin_of_method(LOGGING):
            return None

        async def observe(content: Any) -> None:
            await self._seat.asks.observe(name, content)

        return Logs(self._front, observe, upstream.held.shows_in)

    async def _sent(self, upstream: Upstream, answers: dict[str, Any]) -> Any:
        asked = self._asked
        if asked.method == "tools/call":
            return await upstream.call(asked.own, asked.arguments, self._front, **answers)
        session = upstream.client.session
        more: dict[str, Any] = {"allow_input_required": True, **answers}
        if asked.method == "resources/read":
            return await upstream.ask(session.read_resource(asked.own, **more), self._front)
        prompt = session.get_prompt(asked.own, asked.arguments["arguments"], **more)
        return await upstream.ask(prompt, self._front)

    async def _failed(self, upstream: Upstream, failure: BaseException) -> Failure:
        """A server's own words are read too, so they are observed; those with a secret in them are not given."""
        why = upstream.held.without(first(failure))[:2000]
        try:
            await self._observe([why])
        except RemitError as error:
            return Failure(f"The tool's server failed, and how could not be recorded. {error}")
        said = f"The tool's server failed: {why}. Whether it acted is not known."
        if not isinstance(failure, MCPError):
            return Failure(said)
        if failure.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY:
            needs = (failure.data or {}).get("requiredCapabilities", {}) if isinstance(failure.data, dict) else {}
            return Failure(said, code=failure.code, data={"requiredCapabilities": {k: {} for k in _CAN if k in needs}})
        told = failure.code == types.INVALID_PARAMS and self._asked.method != "tools/call"
        return Failure(said, code=failure.code if told else 0, data={"uri": self._asked.own} if told else None)

    async def _observe(self, content: Any) -> None:
        await self._seat.asks.observe(self._asked.name, content)


def _gone(asked: Asked) -> str:
    return f"{asked.own} was executed once with exactly these arguments, and its outcome is no longer kept here."


def _please(held: Held) -> str:
    return f"A person must agree first ({', '.join(held.approvers)}). This is their page."


def _named(held: Held) -> dict[str, Any]:
    return {"approval": held.approval, "url": held.url, "approvers": held.approvers}


def _declined(responses: Any) -> bool:
    return any(getattr(answer, "action", "accept") != "accept" for answer in (responses or {}).values())
