"""Hooks of coding agents: the event as they post it, the answer in their words; no code of ours on their side.

A hook that gets an error from us may go on by default, so once the caller is known every refusal is answered 200 and
`deny`. What is answered before that, 401 above all, blocks because the settings we print say so (`onFailure`).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from remit.domain.approval import Approval
from remit.domain.caller import Call
from remit.domain.decision import Access, Decision, Deny, Hold, word
from remit.domain.errors import Absent, BadField, Refusal
from remit.domain.identity import Identity
from remit.domain.task import Task
from remit.formats import json_input
from remit.verbs.decide import decide
from remit.verbs.observe import observe
from remit.verbs.vouch import hook_key
from remit_client.hooks import claude_code as claude

from .api_agents import own_task
from .at_home import at_home
from .house import Asked, House
from .problems import json_response

MOST_WAIT = 25
_NOTHING_DONE = "Nothing was done."
_RULES = "The rules here do not allow it."


async def create_key(house: House, call: Call, asked: Asked) -> Response:
    """A bearer key for this task's hooks, to be given to the process whose hooks they are."""
    task = await house.env.store.get(Task, own_task(call, asked))
    identity = await house.env.store.get(Identity, call.caller.jkt)
    if task is None or task.jkt != call.caller.jkt or identity is None:
        raise Absent(inside=f"task {asked.path['task']} for {call.caller}")
    if task.state.value != "open" or call.now >= task.deadline:
        raise BadField("task", "is over")
    text, token = await hook_key(house.env, call, identity, task)
    return json_response({"hook_key": text, "expires_at": token.expires_at}, 201)


async def claude_code(house: House, call: Call, asked: Asked) -> Response:
    """Decide before a tool, observe after it.

    `?wait=SECONDS` waits for people; `?held=defer` stops a headless run until they agreed, where `deny` only tells it.
    """
    patience, held = asked.whole("wait", 0, most=MOST_WAIT), asked.query.get("held", "deny")
    if held not in ("deny", "defer"):
        raise BadField("held", "must be deny or defer")
    if not call.caller.task:
        raise Absent(inside="a token without a task")
    try:
        event = claude.read(json_input.parse(asked.body, limit=asked.limit))
    except ValueError as flaw:
        raise BadField("body", str(flaw)) from flaw
    answer = _before(house, call, event, patience, held) if event.before else _after(house, call, event)
    return json_response(await answer)


async def _before(house: House, call: Call, event: claude.Event, patience: int, held: str) -> dict[str, Any]:
    try:
        decision = await _decided(house, call, event, patience)
    except Refusal as refusal:
        return claude.before("deny", f"Denied: {refusal.message} {_NOTHING_DONE}")
    said = {"permit": "allow", "hold": held, "deny": "deny"}[word(decision)]
    return claude.before(said, _text(decision, house.url))


async def _after(house: House, call: Call, event: claude.Event) -> dict[str, Any]:
    try:
        task = call.caller.task
        read = lambda call: observe(house.env, call, task, event.tool, event.result)  # noqa: E731
        await at_home(house.env, call, task, read, "a result")
    except Refusal as refusal:
        return claude.after(event, f"The result was not accepted, so it is withheld. {refusal.message}")
    return claude.after(event, "")


async def _decided(house: House, call: Call, event: claude.Event, patience: int) -> Decision:
    access = Access(call.caller.task, event.tool, event.arguments)
    found = await at_home(house.env, call, access.task, lambda call: decide(house.env, call, access), "a call")
    house.counted(event.tool, found)
    if isinstance(found, Hold) and patience and await _answered(house, found.approval, patience):
        later = replace(call, now=house.clock())
        found = await decide(house.env, later, access)
        house.counted(event.tool, found)
    return found


async def _answered(house: House, approval: str, patience: int) -> bool:
    for _ in range(patience * 20):
        row = await house.env.store.get(Approval, approval)
        if row is None or not row.pending_at(house.clock()):
            return row is not None
        await asyncio.sleep(0.05)
    return False


def _text(decision: Decision, url: str) -> str:
    """For the model, and whoever reads along: never which policy or control spoke."""
    said = [_RULES if _tells(w.sentence, w.policy, w.control) else w.sentence for w in decision.why]
    why = " ".join(dict.fromkeys(said))
    match decision:
        case Deny():
            return f"Denied: {why} {_NOTHING_DONE}"
        case Hold():
            who = ", ".join(dict.fromkeys(name for need in decision.needs for name in need.approvers))
            where = f"{url}/console/approvals/{decision.approval}"
            step = "When they have agreed, call again with exactly the same arguments."
            return f"Held: {why} {who} must agree first, at {where} {_NOTHING_DONE} {step}"
        case _:
            return why


def _tells(sentence: str, *inside: str) -> bool:
    return any(name and name in sentence for name in inside)
