"""The lead: a LangGraph agent that does what a person asked, and hands the paying to another agent over A2A."""

from __future__ import annotations

import asyncio
import os
import sys

from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from scripted import ScriptedChat

import remit_client as remit
from remit_client.adapters.a2a import Peer
from remit_client.adapters.langchain import RemitMiddleware

URL = os.environ.get("PAYER_URL", "http://127.0.0.1:7460")


async def main(how: str) -> None:
    """One task, from the person's request to its end."""
    client = remit.AsyncRemit()
    behalf = os.environ["SUBJECT_TOKEN"]
    async with client.task("close-quarter", goal="Close ACME's quarter", on_behalf_of=behalf, customer="acme") as task:
        print(f"lead: in {task.id}", flush=True)
        peer = await Peer.found(URL, "payer")

        @tool
        async def close_ledger(customer: str) -> str:
            """Close the ledger."""
            print(f"lead: closed the ledger of {customer}", flush=True)
            return "closed"

        @tool
        async def ask_payer(message: str) -> str:
            """Have the payer do something, inside this task."""
            answer = await peer.hand(task, "settle", goal=message, max_calls=10, customer="acme")
            if answer.held:
                print(f"lead: {answer.held.approvers[0]} must agree, at {answer.held.url}", flush=True)
            while answer.held:
                await asyncio.sleep(0.5)
                answer = await peer.again(answer)
            return answer.text

        guard = remit.Guard(task, tools={"close_ledger": "ledger.close", "ask_payer": "payer.ask"})
        script = [("close_ledger", {"customer": "acme"}), ("ask_payer", {"message": how})]
        agent = create_agent(
            ScriptedChat(calls=script),
            [close_ledger, ask_payer],
            middleware=[RemitMiddleware(guard)],
            checkpointer=InMemorySaver(),
        )
        out = await agent.ainvoke({"messages": [("user", how)]}, {"configurable": {"thread_id": "1"}})
        print(f"lead: {out['messages'][-1].content}", flush=True)


try:
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "Settle what is open"))
except remit.RemitError as refused:
    sys.exit(f"lead: {refused.message}")
