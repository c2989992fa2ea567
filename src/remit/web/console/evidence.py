"""Evidence: per control, what enforces it, whether it is in force, when it last acted; and the report to take away."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.formats import oscal
from remit.govern.evidence import page as drawn
from remit.govern.evidence.frameworks import NAMES
from remit.govern.evidence.proof import proved
from remit.govern.evidence.report import STATUSES, report
from remit.govern.told import told
from remit.web import api_evidence
from remit.web.house import Asked, House

from .log import moment
from .page import HEADERS, fields

_WRITE: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "html": ("text/html; charset=utf-8", drawn.render),
    "json": ("application/json", lambda found: json.dumps(found, ensure_ascii=False)),
    "oscal": ("application/json", lambda found: json.dumps(oscal.assessment_results(found), ensure_ascii=False)),
}
QUERY = ("framework", "since")


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """A report as it would be now, one framework of it whole. Nothing leaves, so nothing is put in the log."""
    chosen = asked.query.get("framework", "") or NAMES[2]
    api_evidence.wanted((chosen,), 0)
    since = moment(asked, "since")
    async with api_evidence.turn():
        found = await report(house.env, house.log, house.log_name, api_evidence.wanted((), since), call.now)
    shown = next(one for one in found["frameworks"] if one["id"] == chosen)
    used = dict.fromkeys(name for control in shown["controls"] for name in control["by"])
    events = {int(place): _event(int(place), json.loads(event)) for place, event in found["events"].items()}
    return {
        **{name: found[name] for name in ("summary", "counted", "frameworks", "made_at")},
        "shown": shown,
        "statuses": STATUSES,
        "mechanisms": {
            name: {**found["mechanisms"][name], "query": _queries(found["mechanisms"][name])} for name in used
        },
        "says": {name: one["says"] for name, one in found["mechanisms"].items()},
        "events": events,
        "since": asked.query.get("since", ""),
    }


def _event(place: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": place, "at": entry["at"], "by": entry["by"], "says": told(entry)["says"]}


def _queries(mechanism: Mapping[str, Any]) -> list[dict[str, str]]:
    """Where in the log the events of each word are found."""
    return [_query(*act["word"].partition(" ")[::2]) for act in mechanism["acts"]]


def _query(kind: str, value: str) -> dict[str, str]:
    if kind == "decided":
        return {"type": "AccessDecided", "decision": value}
    return {"type": value} if kind in ("is", "signed") else {"q": value}


async def take(house: House, call: Call, asked: Asked) -> Response:
    """The report with its proof, as a file: a page, JSON or OSCAL. Its digest is in the log before it leaves."""
    given = fields(asked)
    name = given.get("format", "html")
    media, write = _WRITE.get(name, _WRITE["html"])
    wanted = api_evidence.wanted((), int(given["since"]) if given.get("since", "").isdecimal() else 0)
    async with api_evidence.turn():
        found = await proved(house.env, house.log, house.log_name, call, wanted)
    ending = {"oscal": "oscal.json"}.get(name, name if name in _WRITE else "html")
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="evidence.{ending}"'}
    return Response(write(found), 200, headers, media_type=media)
