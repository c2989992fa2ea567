"""The Claude Agent SDK with its real CLI; the tools are an MCP server in this process."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, create_sdk_mcp_server, query, tool

from remit_client.adapters.claude_agent import remit_hooks
from tests.adapters.claude import Messages, cli

from . import Tools, Turn

CATALOGUE = {"shop.list_invoices": "list", "shop.pay": "pay", "shop.wipe": "wipe"}


class Driver:
    native = True
    edits = False
    ids = True
    starts_in = 6.0

    def __init__(self, guard):
        guard._tools |= CATALOGUE
        self.tools, self._guard = Tools(), guard
        self.hooks = remit_hooks(guard)
        self._folder = tempfile.TemporaryDirectory()

    def _server(self):
        def served(function, **schema):
            @tool(function.__name__, function.__doc__, schema)
            async def one(arguments):
                return {"content": [{"type": "text", "text": function(**arguments)}]}

            return one

        return create_sdk_mcp_server(
            "shop",
            tools=[
                served(self.tools.list_invoices, customer=str),
                served(self.tools.pay, customer=str, invoice=int, amount=str),
                served(self.tools.wipe, customer=str),
            ],
        )

    def attempt(self, *calls):
        api = Messages()
        return self._go(api, [(f"mcp__shop__{name}", arguments, call) for name, arguments, call in calls])

    def resume(self, turn):
        api, calls, session = turn.state
        return self._go(api, calls, session)

    def _go(self, api, calls, session=None):
        home = Path(self._folder.name) / "home"
        home.mkdir(exist_ok=True)
        api.calls, api.told = calls, {}
        options = ClaudeAgentOptions(
            cli_path=cli(),
            cwd=self._folder.name,
            env=api.env(home),
            hooks=self.hooks,
            mcp_servers={"shop": self._server()},
            setting_sources=[],
            resume=session,
        )

        async def go():
            last = None
            async for message in query(prompt="go", options=options):
                if isinstance(message, ResultMessage):
                    last = message
            return last

        result = asyncio.run(go())
        held = None
        if result.deferred_tool_use is not None:
            from remit_client import ToolCall
            from remit_client.hooks.claude_code import catalogue_name

            asked = result.deferred_tool_use
            held = self._guard.decide(ToolCall(catalogue_name(asked.name), asked.input, asked.id)).told()
        stopped = not api.told and held is None
        return Turn(dict(api.told), held, (api, calls, result.session_id), stopped)
