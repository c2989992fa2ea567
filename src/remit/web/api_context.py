"""What open tasks are permitted in: who says that it changed, and how far they have been decided again."""

from __future__ import annotations

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import BadField
from remit.domain.finding import Finding, FindingState, Severity, Subject
from remit.domain.redecision import Redecision
from remit.verbs import assess as assess_verb
from remit.verbs import depart as depart_verb
from remit.verbs import discover as discover_verb

from . import shapes_context as shapes
from .house import Asked, House
from .problems import json_response


async def redecisions(house: House, call: Call, asked: Asked) -> Response:
    """Changes after which open tasks are decided again, and how far that has got."""
    state = asked.query.get("lasts", "")
    if state not in ("", "yes", "no"):
        raise BadField("lasts", "must be yes or no")
    limit, where = asked.whole("limit", 100, most=500), {"lasts": state} if state else {}
    rows = await house.env.store.find(Redecision, where, after=asked.query.get("after", ""), limit=limit)
    following = rows[-1].id if rows and len(rows) == limit else ""
    return json_response({"items": [shapes.redecision(row, call.now) for row in rows], "next": following})


async def assess(house: House, call: Call, asked: Asked) -> Response:
    """What an agent's surroundings are known to be, for a time."""
    wanted = asked.json(shapes.PostureRequest)
    until = call.now + wanted.ttl_ms
    row = await assess_verb.assess(house.env, call, asked.path["agent"], wanted.facts, until)
    return json_response(shapes.posture(row, call.now))


async def leave(house: House, call: Call, asked: Asked) -> Response:
    """A person is here no more: they begin nothing, and what they began ends."""
    wanted = asked.json(shapes.LeaveRequest)
    person = asked.path["person"]
    row, again = await depart_verb.depart(house.env, call, person, wanted.reason, estate=wanted.freeze)
    return json_response({**shapes.departure(row), "redecision": again})


async def come_back(house: House, call: Call, asked: Asked) -> Response:
    """They are here again."""
    return json_response(shapes.departure(await depart_verb.come_back(house.env, call, asked.path["person"])))


async def report(house: House, call: Call, asked: Asked) -> Response:
    """Something was found out; if it is severe enough, what it is about stops at once."""
    wanted = asked.json(shapes.FindingRequest)
    severities = {one.word: one for one in Severity}
    if wanted.severity not in severities:
        raise BadField("severity", f"must be one of {', '.join(severities)}")
    if wanted.subject not in [one.value for one in Subject]:
        raise BadField("subject", "must be agent, tool, secret or task")
    found = discover_verb.Found(
        severities[wanted.severity], Subject(wanted.subject), wanted.name, wanted.title, wanted.evidence
    )
    return json_response(shapes.finding(await discover_verb.report(house.env, call, found)), 201)


async def resolve(house: House, call: Call, asked: Asked) -> Response:
    """It counts no more."""
    note = asked.json(shapes.NoteRequest).note
    return json_response(shapes.finding(await discover_verb.resolve(house.env, call, asked.path["finding"], note)))


async def findings(house: House, call: Call, asked: Asked) -> Response:
    """What was found out."""
    state = asked.query.get("state", "")
    if state not in ("", *(one.value for one in FindingState)):
        raise BadField("state", "must be open or resolved")
    limit, where = asked.whole("limit", 100, most=500), {"state": state} if state else {}
    rows = await house.env.store.find(Finding, where, after=asked.query.get("after", ""), limit=limit)
    following = rows[-1].id if rows and len(rows) == limit else ""
    return json_response({"items": [shapes.finding(row) for row in rows], "next": following})
