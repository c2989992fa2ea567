"""The payer: an OpenAI Agents SDK agent behind A2A, in a process of its own, with an identity of its own.

It does what another agent hands to it, inside that agent's task. Its model is scripted; the rest is as it would be.
"""

from __future__ import annotations

import asyncio
import os

import uvicorn
from agents import Agent, Runner, RunState, function_tool, set_tracing_disabled
from scripted import Calls, ScriptedModel

import remit_client as remit
from remit_client.adapters.a2a import Turn, served
from remit_client.adapters.openai_agents import guarded, pending

URL = os.environ.get("PAYER_URL", "http://127.0.0.1:7460")
TOOLS = {"list_invoices": "invoices.list", "send_payment": "payments.send", "close_ledger": "ledger.close"}
set_tracing_disabled(True)


@function_tool
def list_invoices(customer: str) -> str:
    """List a customer's open invoices."""
    return f"{customer} owes 120.00 for invoice 17"


@function_tool
def send_payment(customer: str, invoice: int, amount: str) -> str:
    """Pay an invoice."""
    print(f"payer: paid {amount} for invoice {invoice}", flush=True)
    return f"paid invoice {invoice}"


@function_tool
def close_ledger(customer: str) -> str:
    """Close the ledger."""
    return "closed"


@function_tool
async def bank_opens() -> str:
    """Wait until the bank opens."""
    print("payer: waiting for the bank", flush=True)
    await asyncio.sleep(float(os.environ.get("BANK_OPENS_IN", "5")))
    return "the bank is open"


def script(text: str) -> Calls:
    """What a model would make of the message."""
    acme = {"customer": "acme"}
    if "slowly" in text:
        return [("list_invoices", acme), ("bank_opens", {}), ("list_invoices", acme)]
    payment = {**acme, "invoice": 17, "amount": "120.00"}
    return [("list_invoices", acme), ("close_ledger", acme), ("send_payment", payment)]


async def work(turn: Turn) -> str:
    """One hand-off. Everything that the agent does is decided in the child of whoever handed it over."""
    guard = remit.Guard(turn.task, tools=TOOLS)
    tools = [guarded(one, guard) for one in (list_invoices, send_payment, close_ledger)]
    agent = Agent(name="payer", tools=[*tools, bank_opens], model=ScriptedModel(script(turn.text)))
    if "run" in turn.state:  # it waited for people: only that call is asked again, and Remit says what they said
        state = await RunState.from_string(agent, turn.state["run"])
        for item in state.get_interruptions():
            state.approve(item)
        result = await Runner.run(agent, state)
    else:
        await turn.task.credential("bank")
        result = await Runner.run(agent, turn.text)
    for item in result.interruptions:
        held = await pending(guard, item)
        if held is not None:
            turn.state["run"] = result.to_state().to_string()
            raise held.error()
    print(f"payer: {result.final_output}", flush=True)
    return str(result.final_output)


async def main() -> None:
    """Prove who it is, then listen."""
    client = remit.AsyncRemit()
    print(f"payer: I am {await client.prove()}, at {URL}", flush=True)
    app = served(client, URL, "Pays invoices", work)
    port = int(URL.rpartition(":")[2])
    await uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off")).serve()


asyncio.run(main())
