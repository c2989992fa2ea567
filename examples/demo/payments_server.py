"""An ordinary MCP server that pays invoices. It knows nothing of Remit."""

from __future__ import annotations

import os
from typing import Any

import anyio
import mcp_types as types
import psycopg
from mcp import stdio_server
from mcp.server.lowlevel.server import Server

SEND = {
    "name": "send",
    "description": "Pay one invoice of a customer. The money leaves at once and does not come back.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "customer": {"type": "string"},
            "invoice": {"type": "integer"},
            "amount": {"type": "string"},
        },
        "required": ["customer", "invoice", "amount"],
    },
}


async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
    """One tool."""
    return types.ListToolsResult(tools=[types.Tool.model_validate(SEND)])


async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    """Move the money: one row in `payments`, one invoice paid."""
    wanted = params.arguments or {}
    async with await psycopg.AsyncConnection.connect(os.environ["PAYMENTS_DSN"], autocommit=True) as db:
        row = await (
            await db.execute(
                "WITH paid AS (UPDATE invoices SET paid = true WHERE id = %(invoice)s AND NOT paid RETURNING id)"
                " INSERT INTO payments (invoice, amount) SELECT id, %(amount)s::numeric FROM paid RETURNING id",
                wanted,
            )
        ).fetchone()
    text = f"payment {row[0]}: {wanted['amount']} EUR for invoice {wanted['invoice']}" if row else "already paid"
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


async def main() -> None:
    """Serve on stdio."""
    server = Server("payments", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())


anyio.run(main)
