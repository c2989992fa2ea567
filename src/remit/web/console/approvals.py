"""Approvals: what waits, one request whole, and a person's answer to exactly what was shown."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.approval import ONCE, Again, Approval, ApprovalState
from remit.domain.caller import Call, CallerKind
from remit.domain.errors import BadField
from remit.domain.passkey import UNSIGNED, Signed
from remit.formats import json_input
from remit.verbs import approve, consult
from remit.verbs.approve import Given
from remit.web import api_approvals
from remit.web import shapes_approvals as shapes
from remit.web.house import Asked, House
from remit.web.problems import json_response

from . import seen
from .page import fields, onward, render

PAGE = 100
WAIT_MS = 1_500  # before an irreversible yes can be pressed
STATES = tuple(state.value for state in ApprovalState)
MINUTES = (5, 15, 60, 240)


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """What waits, the soonest over first and yours before others'; with `state`, what was."""
    state, q = asked.query.get("state", "pending"), asked.query.get("q", "")
    if state not in STATES:
        raise BadField("state", f"must be {', '.join(STATES)}")
    mine = asked.query.get("for", "") == "me"
    if state == "pending":
        rows = await seen.pending(house, call)
    else:
        found = await house.env.store.find(Approval, {"state": state}, limit=seen.COUNTED)
        rows = [row for row in found if await api_approvals.may_see(house, call, row)]
        rows.sort(key=lambda row: -row.asked_at)
    shown = [
        {**shapes.approval(row), "waits_for_you": row.pending_at(call.now) and seen.waits_for(row, call)}
        for row in rows
    ]
    words = q.casefold().split()
    items = [one for one in shown if (one["waits_for_you"] or not mine) and all(word in _text(one) for word in words)]
    items.sort(key=lambda one: not one["waits_for_you"])
    return {"groups": _grouped(items[:PAGE]), "q": q, "state": state, "states": STATES, "mine": mine}


def _text(one: dict[str, Any]) -> str:
    return f"{one['id']} {one['shown']['sentence']} {one['shown']['goal']} {one['owner']}".casefold()


def _grouped(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Requests that say exactly the same stand together; each is still answered by itself."""
    groups: dict[tuple[str, str, str, bool], list[dict[str, Any]]] = {}
    for one in items:
        shown = one["shown"]
        groups.setdefault((shown["sentence"], shown["tool"], shown["arguments"], one["waits_for_you"]), []).append(one)
    return [{"first": same[0], "same": [one["id"] for one in same[1:]]} for same in groups.values()]


async def one(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """Everything one is shown before one answers, and what one can do."""
    row = await api_approvals.approval_of(house, call, asked)
    found = await api_approvals.whole(house, call, row)
    person = asked.browser is not None and CallerKind.PERSON in asked.browser.session.roles
    name = call.caller.name
    can = [who for who in found["can_answer"] if name == who["person"] or name in who["stand_ins"]]
    yours = bool(can) and (person or call.caller.kind is CallerKind.PERSON) and row.pending_at(call.now)
    _, force = await house.env.in_force()
    waiting = [other.id for other in await seen.pending(house, call) if seen.waits_for(other, call)]
    return {
        **found,
        "yours": yours,
        "passkeys": len(await house.env.passkeys(name)) if yours else 0,
        "wait_ms": 0 if found["what"]["reversible"] else WAIT_MS,
        "people": sorted(set(force.catalogue.people) - set(found["chain"]) - {name, row.chain.initiator.name}),
        "until": [call.now + m * 60_000 for m in MINUTES if call.now + m * 60_000 <= found["again"]["latest"]],
        "following": next((other for other in waiting if other != row.id), ""),
    }


async def challenge(house: House, call: Call, asked: Asked) -> Response:
    """What the passkey is to sign for this answer."""
    given = fields(asked)
    row = await api_approvals.approval_of(house, call, asked)
    return json_response(await approve.challenge(house.env, call, row.id, _given(given)))


async def answer(house: House, call: Call, asked: Asked) -> Response:
    """Yes or no. A yes that no passkey signed is asked for twice, so that no single key or press approves."""
    given = fields(asked)
    row = await api_approvals.approval_of(house, call, asked)
    found = _given(given)
    if not found.yes and not found.note.strip():
        raise BadField("note", "say why: the agent's people see it")
    if found.digest != row.digest:
        raise BadField("digest", "is not of what this approval shows", next_step="Open it again, and answer there.")
    if found.yes and not found.signed and given.get("confirmed") != found.digest:
        model = {**await one(house, call, asked), "given": given}
        return render(house, call, asked, "approval_confirm.html", "Approve", model)
    await approve.answer(house.env, call, row.id, found)
    return onward(f"/console/approvals/{row.id}")


async def question(house: House, call: Call, asked: Asked) -> Response:
    """Ask back before answering."""
    row = await api_approvals.approval_of(house, call, asked)
    await consult.question(house.env, call, row.id, fields(asked).get("text", ""))
    return onward(f"/console/approvals/{row.id}")


async def hand_on(house: House, call: Call, asked: Asked) -> Response:
    """Have somebody else answer this one."""
    row = await api_approvals.approval_of(house, call, asked)
    await consult.hand_on(house.env, call, row.id, fields(asked).get("to", ""))
    return onward(f"/console/approvals/{row.id}")


def _given(given: dict[str, str]) -> Given:
    if given.get("answer") not in ("yes", "no"):
        raise BadField("answer", "must be yes or no")
    count, until = _whole(given, "count"), _whole(given, "until")
    free = tuple(sorted(name.removeprefix("free.") for name in given if name.startswith("free.")))
    again = Again(count, until, free) if count else ONCE
    return Given(given.get("digest", ""), given["answer"] == "yes", given.get("note", ""), again, _signed(given))


def _whole(given: dict[str, str], name: str) -> int:
    text = given.get(name) or "0"
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise BadField(name, "must be a whole number")
    return int(text)


def _signed(given: dict[str, str]) -> Signed:
    text = given.get("signed", "")
    if not text:
        return UNSIGNED
    said = json_input.typed(json_input.parse(text.encode(), limit=65_536), shapes.SignedRequest)
    return shapes.ChallengeRequest("", True).given(said).signed
