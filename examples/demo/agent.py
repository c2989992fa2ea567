"""The agent: a process of its own, with a key of its own. Only what it decides to do is scripted; no model is needed.

It proves who it is, says what it was asked, reads with a role that exists for this task, tries something outside its
purpose, pays through an MCP server, and finishes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import psycopg
from mcp import Client, StdioServerParameters, stdio_client

import remit_client as remit

HERE = Path(__file__).resolve().parent


def say(**what: object) -> None:
    """Tell the demo, as JSON lines."""
    print(json.dumps(what), flush=True)


async def pay(task: remit.Task, invoice: int, amount: str) -> None:
    """Call the payments tool as any MCP client would; the enforcement point stands in between."""
    gateway = ["mcp", "--purpose", "pay-invoices", "--task", task.id, "--server", "payments", "--wait", "600"]
    gateway += ["--env", "PAYMENTS_DSN", "--"]
    command = StdioServerParameters(
        command=str(Path(sys.executable).parent / "remit"),
        args=[*gateway, sys.executable, str(HERE / "payments_server.py")],
        env=dict(os.environ),
    )
    async with Client(stdio_client(command), read_timeout_seconds=700) as client:
        tools = await client.list_tools()
        say(tools=[tool.name for tool in tools.tools])
        result = await client.call_tool("send", {"customer": "acme", "invoice": invoice, "amount": amount})
        say(payment=result.content[0].text)


def main() -> None:
    """One task, from the proof to the end."""
    goal = "Pay the overdue invoices of ACME"
    behalf = os.environ["SUBJECT_TOKEN"]
    with remit.Remit().task("pay-invoices", goal=goal, on_behalf_of=behalf, customer="acme") as task:
        credential = task.credential("billing-db")
        task.call("invoices.list", customer="acme")
        with psycopg.connect(**credential) as db:
            rows = db.execute(
                "SELECT id, amount::text FROM invoices WHERE customer = 'acme' AND NOT paid AND due < now()"
            ).fetchall()
            say(read=[f"invoice {i}: {amount} EUR" for i, amount in rows], role=credential["user"])
            try:
                db.execute("SELECT * FROM salaries")
            except psycopg.errors.InsufficientPrivilege as refused:
                say(database_refused=str(refused).splitlines()[0])
        try:
            task.call("salaries.read")
        except remit.Denied as denied:
            say(denied=denied.message)
        for invoice, amount in rows:
            asyncio.run(pay(task, invoice, amount))
        say(token=task.access_token())


main()
