"""What people are asked: the request whole, the answer, and what helps to give it."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from remit.domain.approval import Answer, Approval, ApprovalState, Away
from remit.domain.backchannel import BackchannelRequest
from remit.domain.caller import Call, CallerKind
from remit.domain.catalogue import Catalogue
from remit.domain.errors import Absent, BadField
from remit.domain.flow import Json
from remit.domain.origin import Observation
from remit.domain.standing_yes import StandingYes
from remit.domain.task import Task
from remit.formats import json_input
from remit.verbs import approve, consult, enrol

from . import shapes_approvals as shapes
from .house import Asked, House
from .problems import json_response
from .shapes import ReasonRequest

EARLIER = 20
PAGES = 4


async def list_approvals(house: House, call: Call, asked: Asked) -> Response:
    """Approvals the caller may see, by state."""
    state = asked.query.get("state", "")
    if state and state not in [s.value for s in ApprovalState]:
        raise BadField("state", "must be pending, granted, refused, used or expired")
    where = {name: asked.query[name] for name in ("state", "task", "tool") if asked.query.get(name)}
    limit = asked.whole("limit", 100, most=500)
    rows = await house.env.store.find(Approval, where, after=asked.query.get("after", ""), limit=limit)
    seen = [shapes.approval(row) for row in rows if await may_see(house, call, row)]
    return json_response({"items": seen, "next": rows[-1].id if rows and len(rows) == limit else ""})


async def show_approval(house: House, call: Call, asked: Asked) -> Response:
    """One approval, whole; `?wait=SECONDS` (≤ 30): when it is no longer pending."""
    patience = asked.whole("wait", 0, most=30)
    row = await approval_of(house, call, asked)
    for _ in range(patience * 20):
        if not row.pending_at(house.clock()):
            break
        await asyncio.sleep(0.05)
        row = await approval_of(house, call, asked)
    return json_response(await whole(house, call, row))


async def whole(house: House, call: Call, row: Approval) -> dict[str, Any]:
    """Everything that a person is shown before they answer, and what they can do."""
    _, force = await house.env.in_force()
    tool = force.catalogue.tools.get(row.shown.tool)
    task = await house.env.store.get(Task, row.task)
    values: dict[str, Json] = json_input.parse(row.shown.arguments.encode(), limit=1 << 20, depth=32)
    decisive = tool.decisive() if tool else ()
    standing = await house.env.store.find(StandingYes, {"task": row.task}, limit=20)
    purpose = force.catalogue.purposes.get(task.purpose) if task else None
    rule = purpose.approval if purpose else None
    await house.fatigue.read(house.log, pages=PAGES)  # a page that people wait for reads no whole log
    mine = house.fatigue.person(call.caller.name)
    return {
        **shapes.approval(row),
        "purpose": task.purpose if task else "",
        "what": {"tool": row.shown.tool, "title": tool.title if tool else "", **shapes.effect(row)},
        "arguments": shapes.arguments(row, values, decisive, call.caller.name),
        "covers": row.covers,
        "did": await _did(house, task),
        "in_app": await _in_app(house, row),
        "can_answer": await _can_answer(house, force.catalogue, row, call.now),
        "left_ms": max(0, row.expires_at - call.now),
        "if_nothing": shapes.if_nothing(row),
        "earlier": await _earlier(house, call, row, values),
        "again": {
            "most": rule.standing if rule and row.shown.effect != "irreversible" else 0,
            "latest": min(task.deadline, call.now + rule.standing_for) if rule and task else 0,
        },
        "standing": [shapes.standing_yes(one) for one in standing if one.shown.tool == row.shown.tool],
        "you": {"answers": mine.yes + mine.no, "yes_rate": mine.rate, "median_ms": mine.median},
    }


async def _in_app(house: House, row: Approval) -> list[dict[str, Any]]:
    """Who is asked in their identity provider's own app."""
    found = await house.env.store.find(BackchannelRequest, {"approval": row.id})
    return [shapes.backchannel(one) for one in found]


async def _did(house: House, task: Task | None) -> dict[str, Any]:
    """What the task did before: what it changed how often, and what it read."""
    if task is None:
        return {}
    rows = await house.env.store.find(Observation, {"task": task.id}, limit=50)
    label = {"trust": task.label.trust.word, "sensitivity": task.label.sensitivity.word}
    read = [
        {"tool": row.tool, "at": row.at, "trust": row.trust.word, "sensitivity": row.sensitivity.word} for row in rows
    ]
    counts = {"calls": task.calls, "max_calls": task.max_calls, "changed": dict(task.uses), "results": task.observed}
    return {**counts, **label, "sources": list(task.label.sources), "read": read, "opened_at": task.opened_at}


async def _can_answer(house: House, catalogue: Catalogue, row: Approval, now: int) -> list[dict[str, Any]]:
    """Who could still answer, and for whom: everybody who is asked and was not heard, and who stands in for them."""
    found: list[dict[str, Any]] = []
    heard = {voice for one in row.answers for voice in one.voices}
    for person in catalogue.people.values():
        mine = Answer(person.name, True, now, groups=person.groups)
        if not mine.counts_for(row.approvers) or row.chain.involves(person.name) or person.name in heard:
            continue
        away = await house.env.store.get(Away, person.name)
        instead = [one.to for one in row.handed_on if one.by == person.name]
        instead += [away.to] if away is not None and away.at(now) else []
        alone = row.owner_alone or person.name not in row.owners
        found.append({"person": person.name, "alone": alone, "stand_ins": list(dict.fromkeys(instead))})
    return found[:100]


async def _earlier(house: House, call: Call, row: Approval, values: dict[str, Json]) -> list[dict[str, Any]]:
    """What this agent asked before with this tool, and which arguments differ; exactly the same first."""
    rows = await house.env.store.find(Approval, {"tool": row.shown.tool}, limit=1000)
    agent = row.chain.agents()[-1]
    alike = [r for r in rows if r.id != row.id and r.chain.agents()[-1] == agent and r.asked_at <= row.asked_at]
    found: list[dict[str, Any]] = []
    for one in sorted(alike, key=lambda r: (r.shown.arguments != row.shown.arguments, -r.asked_at)):
        if len(found) < EARLIER and await may_see(house, call, one):
            was = json_input.parse(one.shown.arguments.encode(), limit=1 << 20, depth=32)
            names = sorted({*was, *values})
            differs = [{"name": n, "was": was.get(n)} for n in names if was.get(n) != values.get(n)]
            shown = {"id": one.id, "state": one.state.value, "task": one.task, "at": one.asked_at}
            found.append({**shown, "same_task": one.task == row.task, "differs": differs})
    return found


async def approval_of(house: House, call: Call, asked: Asked) -> Approval:
    """The approval of the path; the same `Absent` for what is not there and what is not theirs."""
    row = await house.env.store.get(Approval, asked.path["approval"])
    if row is None or not await may_see(house, call, row):
        raise Absent(inside=f"approval {asked.path['approval']} for {call.caller}")
    return row


async def may_see(house: House, call: Call, row: Approval) -> bool:
    """Its own agent, who is asked or stands in for them, who began it, who answers for the agent, and who oversees."""
    match call.caller.kind:
        case CallerKind.OPERATOR | CallerKind.AUDITOR | CallerKind.ENFORCER:
            return True
        case CallerKind.AGENT:
            task = await house.env.store.get(Task, row.task)
            return task is not None and task.agent == call.caller.name and task.jkt == call.caller.jkt
        case CallerKind.PERSON:
            name = call.caller.name
            mine = Answer(name, True, call.now, groups=call.caller.groups)
            if mine.counts_for(row.approvers) or name in (row.owner, row.chain.initiator.name):
                return True
            if any(one.to == name for one in row.handed_on):
                return True
            return await _stands_in(house, call, row)
    return False


async def _stands_in(house: House, call: Call, row: Approval) -> bool:
    away = [one for one in await house.env.store.find(Away, {"stand_in": call.caller.name}) if one.at(call.now)]
    if not away:
        return False
    _, force = await house.env.in_force()
    people = [force.catalogue.people.get(one.person) for one in away]
    return any(p and Answer(p.name, True, call.now, groups=p.groups).counts_for(row.approvers) for p in people)


async def challenge(house: House, call: Call, asked: Asked) -> Response:
    """What the caller's passkey is to sign for this answer."""
    wanted = asked.json(shapes.ChallengeRequest)
    row = await approval_of(house, call, asked)
    return json_response(await approve.challenge(house.env, call, row.id, wanted.given()))


async def answer(house: House, call: Call, asked: Asked) -> Response:
    """A person's yes or no to exactly the digest shown."""
    wanted = asked.json(shapes.AnswerRequest)
    row = await approval_of(house, call, asked)
    found = await approve.answer(house.env, call, row.id, wanted.given(wanted.signed))
    return json_response(shapes.approval(found))


async def question(house: House, call: Call, asked: Asked) -> Response:
    """Ask back before answering."""
    wanted = asked.json(shapes.QuestionRequest)
    row = await approval_of(house, call, asked)
    return json_response(shapes.approval(await consult.question(house.env, call, row.id, wanted.text)))


async def hand_on(house: House, call: Call, asked: Asked) -> Response:
    """Have somebody else answer this one."""
    wanted = asked.json(shapes.HandOnRequest)
    row = await approval_of(house, call, asked)
    return json_response(shapes.approval(await consult.hand_on(house.env, call, row.id, wanted.to)))


async def stats(house: House, call: Call, asked: Asked) -> Response:
    """How people answer: holds a task, time to answer, yes-rate by policy and by person, and what is wrong with it."""
    await house.fatigue.read(house.log)
    return json_response(house.fatigue.shown())


async def standing_yeses(house: House, call: Call, asked: Asked) -> Response:
    """Standing yeses, of one task if it is named, that the caller may see."""
    where = {name: asked.query[name] for name in ("task", "usable") if asked.query.get(name)}
    rows = await house.env.store.find(StandingYes, where, limit=500)
    whole_house = call.caller.kind is not CallerKind.PERSON
    seen = [row for row in rows if whole_house or call.caller.name in row.people]
    return json_response({"items": [shapes.standing_yes(row) for row in seen], "next": ""})


async def take_back(house: House, call: Call, asked: Asked) -> Response:
    """End a standing yes."""
    reason = asked.json(ReasonRequest).reason
    return json_response(shapes.standing_yes(await consult.take_back(house.env, call, asked.path["standing"], reason)))


async def list_passkeys(house: House, call: Call, asked: Asked) -> Response:
    """The caller's passkeys."""
    found = await house.env.passkeys(call.caller.name)
    return json_response({"items": [shapes.passkey(row) for row in found], "next": ""})


async def invite_passkey(house: House, call: Call, asked: Asked) -> Response:
    """What the caller's device is to make."""
    return json_response(await enrol.invitation(house.env, call))


async def register_passkey(house: House, call: Call, asked: Asked) -> Response:
    """Keep the passkey that was made."""
    wanted = asked.json(shapes.PasskeyRequest)
    row = await enrol.register(house.env, call, wanted.credential, wanted.nonce, wanted.expires_at, wanted.title)
    return json_response(shapes.passkey(row), 201)


async def remove_passkey(house: House, call: Call, asked: Asked) -> Response:
    """It answers nothing any more."""
    return json_response(shapes.passkey(await enrol.remove(house.env, call, asked.path["passkey"])))


async def show_away(house: House, call: Call, asked: Asked) -> Response:
    """Who stands in for the caller, and for whom the caller does."""
    own = await house.env.store.get(Away, call.caller.name)
    others = await house.env.store.find(Away, {"stand_in": call.caller.name}, limit=100)
    mine = shapes.away(own) if own and own.at(call.now) else None
    return json_response({"away": mine, "for": [shapes.away(row) for row in others if row.at(call.now)]})


async def go_away(house: House, call: Call, asked: Asked) -> Response:
    """Have somebody stand in until then."""
    wanted = asked.json(shapes.AwayRequest)
    row = await consult.go_away(house.env, call, wanted.to, wanted.until, wanted.reason)
    return json_response(shapes.away(row), 201)


async def come_back(house: House, call: Call, asked: Asked) -> Response:
    """Nobody stands in any more."""
    await consult.come_back(house.env, call)
    return json_response({})
