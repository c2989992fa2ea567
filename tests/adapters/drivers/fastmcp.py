"""FastMCP's server and client, in memory: the client is what the model would be behind."""

from __future__ import annotations

import asyncio

from fastmcp import Client, FastMCP
from mcp_types import ElicitResult, InputRequiredResult

from remit_client.adapters.fastmcp import RemitMiddleware

from . import Tools, Turn


class Driver:
    native = True
    edits = False
    ids = False

    def __init__(self, guard):
        self.tools = Tools()
        self._server = self.served(guard)

    def served(self, guard):
        server = FastMCP("shop", middleware=[RemitMiddleware(guard)])
        for one in (self.tools.list_invoices, self.tools.pay, self.tools.wipe):
            server.tool(one)
        return server

    def client(self):
        return Client(self._server)

    def attempt(self, *calls):
        return asyncio.run(self._go(calls))

    def resume(self, turn):
        calls, asked = turn.state
        answers = {name: ElicitResult(action="accept") for name in asked.input_requests}
        return asyncio.run(self._go(calls, input_responses=answers, request_state=asked.request_state))

    async def _go(self, calls, **more):
        turn = Turn()
        async with self.client() as client:
            for name, arguments, call in calls:
                result = await client.session.call_tool(name, arguments, allow_input_required=True, **more)
                if isinstance(result, InputRequiredResult):
                    params = result.input_requests["approval"].params
                    url = params.url
                    approval = url.rpartition("/")[2]
                    turn.held = {"approval": approval, "url": url, "approvers": ["finance"], "message": params.message}
                    assert "finance must agree first" in params.message
                    turn.state = (calls, result)
                else:
                    turn.said[call] = result.content[0].text
                    ours = turn.said[call].startswith(("Denied", "Held")) or "withheld" in turn.said[call]
                    assert bool(result.is_error) == ours
        return turn
