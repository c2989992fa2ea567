"""Reviews: what waits, one agent whole, and an answer to exactly what was shown; then the next that waits."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import BadField
from remit.domain.review import Verdict
from remit.formats import json_input
from remit.verbs import review as verb
from remit.web import api_reviews as api
from remit.web import shapes_accountability as shapes
from remit.web import shapes_approvals as asks
from remit.web.house import Asked, House
from remit.web.problems import json_response

from .page import fields, onward

PAGE = 200


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """Those that wait, yours before others' and the soonest due first; then those that were answered."""
    q = asked.query.get("q", "")
    found = await api.reviews(house, call, "", name_of(call, asked))
    words = q.casefold().split()
    items = [one for one in found if all(word in _text(one) for word in words)]
    return {"items": items[:PAGE], "total": len(items), "q": q, "yours": sum(one["yours"] for one in found)}


def _text(one: dict[str, Any]) -> str:
    return f"{one['agent']} {one['campaign']} {one['state']} {one['person']}".casefold()


def name_of(call: Call, asked: Asked) -> str:
    """Whom of us two this session is as a person; empty when it is none."""
    roles = asked.browser.session.roles if asked.browser else (call.caller.kind,)
    return call.caller.name if CallerKind.PERSON in roles else ""


async def one(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """Everything one is shown before one answers."""
    found = await api.whole(house, call, asked.path["agent"], name_of(call, asked))
    may = found["shown"]["may"]
    return {
        **found,
        "unused": [item for item in may if item["unused"]],
        "used": [item for item in may if not item["unused"]],
        "passkeys": len(await house.env.passkeys(call.caller.name)) if found["yours"] else 0,
        "narrowing": [str(held) for held in (await house.env.narrowing(found["agent"])).without],
        "following": await _following(house, call, name_of(call, asked), found["agent"]),
    }


async def waiting(house: House, call: Call, person: str) -> list[str]:
    """Agents whose reviews wait for this person, the soonest due first."""
    if not person:
        return []
    found = await api.reviews(house, call, "", person, waiting=True)
    return [one["agent"] for one in found if one["yours"]]


async def _following(house: House, call: Call, person: str, but: str = "") -> str:
    return next((name for name in await waiting(house, call, person) if name != but), "")


async def challenge(house: House, call: Call, asked: Asked) -> Response:
    """What the passkey is to sign for this answer."""
    wanted = _wanted(fields(asked))
    covers = await api.covers(house, call, asked.path["agent"], wanted.upto)
    return json_response(await verb.challenge(house.env, call, asked.path["agent"], api.given(wanted), covers))


async def answer(house: House, call: Call, asked: Asked) -> Response:
    """Keep, narrow or retire; then on to the next that waits for the same person."""
    wanted = _wanted(fields(asked))
    if wanted.answer == Verdict.RETIRE.value and not wanted.note.strip():
        raise BadField("note", "say why: whoever is refused sees that it was retired")
    await api.answered(house, call, asked.path["agent"], wanted)
    following = await _following(house, call, call.caller.name)
    return onward(f"/console/reviews/{following}" if following else "/console/reviews")


def _wanted(given: dict[str, str]) -> shapes.ReviewAnswerRequest:
    upto, text = given.get("upto", ""), given.get("signed", "")
    if not upto.isascii() or not upto.isdecimal() or len(upto) > 15:
        raise BadField("upto", "must be a whole number")
    signed = json_input.typed(json_input.parse(text.encode(), limit=65_536), asks.SignedRequest) if text else None
    return shapes.ReviewAnswerRequest(
        given.get("digest", ""), int(upto), given.get("answer", ""), given.get("note", ""), signed
    )
