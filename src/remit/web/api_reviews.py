"""Reviews: what waits, what there is to be seen of one agent, and an answer to exactly that."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import Absent, BadField
from remit.domain.passkey import UNSIGNED
from remit.domain.review import Review, Verdict, may_answer
from remit.govern.narrower import narrower
from remit.govern.review import Shown, shown
from remit.verbs import review as verb

from . import shapes_accountability as shapes
from .house import Asked, House
from .problems import json_response

OPENED = 2048


async def open_reviews(house: House, call: Call, asked: Asked) -> Response:
    """Open a review of each of these agents, or of all; those that wait already are left as they are."""
    wanted = asked.json(shapes.OpenReviewsRequest)
    _, force = await house.env.in_force()
    names = sorted(force.catalogue.agents) if wanted.all else list(wanted.agents)
    if wanted.all == bool(wanted.agents) or len(names) > OPENED:
        raise BadField("agents", f"name up to {OPENED} agents, or say all")
    opened = []
    for name in names:
        row = await house.env.store.get(Review, name)
        if row is None or not row.waits:
            opened.append((await verb.open_review(house.env, call, name, wanted.campaign)).agent)
    return json_response({"opened": opened, "waited": len(names) - len(opened)}, 201)


async def list_reviews(house: House, call: Call, asked: Asked) -> Response:
    """Reviews, those that wait for the caller first."""
    return json_response({"items": await reviews(house, call, asked.query.get("campaign", "")), "next": ""})


async def reviews(
    house: House, call: Call, campaign: str = "", person: str = "", *, waiting: bool = False
) -> list[dict[str, Any]]:
    """A person sees those that are theirs to answer; `person` is who a reader is besides. `waiting`: only such."""
    rows: list[Review] = []
    where = {"waits": "yes"} if waiting else {}
    while page := await house.env.store.find(Review, where, after=rows[-1].key if rows else "", limit=1000):
        rows += page
    found = []
    for row in rows:
        yours = await _is_for(house, call, row, person)
        if (yours or call.caller.kind is not CallerKind.PERSON) and campaign in ("", row.campaign):
            found.append({**shapes.review(row, call.now), "yours": yours and row.waits})
    return sorted(found, key=lambda one: (not one["yours"], not one["waits"], one["due_at"], one["agent"]))


async def _is_for(house: House, call: Call, row: Review, person: str = "") -> bool:
    _, force = await house.env.in_force()
    who, agent = force.catalogue.person(call.caller), force.catalogue.agents.get(row.agent)
    is_person = call.caller.kind is CallerKind.PERSON or (person and person == call.caller.name)
    if who is None or agent is None or not is_person:
        return False
    return may_answer(who, agent, await house.env.answers_for(agent))


async def show_review(house: House, call: Call, asked: Asked) -> Response:
    """One review, whole."""
    return json_response(await whole(house, call, asked.path["agent"]))


async def whole(house: House, call: Call, agent: str, person: str = "") -> dict[str, Any]:
    """The review and what there is to be seen; once it was answered, what was."""
    row, yours = await _one(house, call, agent, person)
    found = await shown(house.env, house.log, row) if row.waits or not row.covers else Shown(row.covers, 0)
    if found is None:
        raise Absent(inside=f"agent {agent[:100]} is not in the catalogue")
    seen = {"shown": found.facts, "digest": found.digest, "upto": found.upto}
    return {**shapes.review(row, call.now), **seen, "yours": yours and row.waits}


async def change(house: House, call: Call, asked: Asked) -> Response:
    """The catalogue's files without what was never used: a proposal, as whole files and as a difference."""
    row, _ = await _one(house, call, asked.path["agent"])
    found = await shown(house.env, house.log, row)
    if found is None:
        raise Absent(inside=f"agent {row.agent} is not in the catalogue")
    gone = {*found.unused, *(await house.env.narrowing(row.agent)).without}
    return json_response(await narrower(house.env, house.log, row, gone))


async def challenge(house: House, call: Call, asked: Asked) -> Response:
    """What the caller's passkey is to sign for this answer."""
    wanted = asked.json(shapes.ReviewAnswerRequest)
    seen = await covers(house, call, asked.path["agent"], wanted.upto)
    return json_response(await verb.challenge(house.env, call, asked.path["agent"], given(wanted), seen))


async def answer(house: House, call: Call, asked: Asked) -> Response:
    """Keep, narrow or retire, to exactly what was shown."""
    wanted = asked.json(shapes.ReviewAnswerRequest)
    return json_response(shapes.review(await answered(house, call, asked.path["agent"], wanted), call.now))


async def answered(house: House, call: Call, agent: str, wanted: shapes.ReviewAnswerRequest) -> Review:
    """What was shown is made again, from the same place of the log."""
    seen = await covers(house, call, agent, wanted.upto)
    return await verb.answer(house.env, call, agent, given(wanted), seen)


def given(wanted: shapes.ReviewAnswerRequest) -> verb.Reviewed:
    """The answer, as the verb has it."""
    if wanted.answer not in [one.value for one in Verdict]:
        raise BadField("answer", "must be keep, narrow or retire")
    signed = wanted.signed.signed() if wanted.signed else UNSIGNED
    return verb.Reviewed(wanted.digest, Verdict(wanted.answer), wanted.note, signed)


async def covers(house: House, call: Call, agent: str, upto: int) -> str:
    """What there was to be seen at that place of the log, in canonical JSON."""
    row, _ = await _one(house, call, agent)
    found = await shown(house.env, house.log, row, upto)
    if found is None:
        raise Absent(inside=f"agent {agent[:100]} is not in the catalogue")
    return found.covers


async def _one(house: House, call: Call, agent: str, person: str = "") -> tuple[Review, bool]:
    row = await house.env.store.get(Review, agent)
    yours = row is not None and await _is_for(house, call, row, person)
    if row is None or not (yours or call.caller.kind is not CallerKind.PERSON):
        raise Absent(inside=f"review of {agent[:100]} for {call.caller}")
    return row, yours
