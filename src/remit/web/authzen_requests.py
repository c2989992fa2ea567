"""AuthZEN Access Request and Approval Profile 1.0 (draft): a requestable denial, its task, and its end.

Remit is both decision point and access request service, so a denial is bound by reference: `evaluation_id` is the
approval that the hold made, and the authorization-relevant context is `arguments`. A task is asked about, never
enumerated, and its end permits nothing by itself: the same evaluation is asked again, and decided again (mode
`reevaluate`). Asking for several at once (`items`), callbacks and cancelling are not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from remit.domain.approval import Approval, ApprovalState
from remit.domain.caller import Call
from remit.domain.errors import Absent, BadField, Malformed, WrongState
from remit.formats import json_input
from remit.formats.jcs import canonical

from .api_approvals import may_see
from .house import Asked, House
from .problems import json_response

ERROR = "urn:openid:authzen:access-request:error:"
CAPABILITY = "urn:openid:authzen:capability:access-request"
_CODES = {400: BadField.code, 404: Absent.code, 410: WrongState.code}
_STATUS = {
    ApprovalState.PENDING: "pending",
    ApprovalState.GRANTED: "approved",
    ApprovalState.USED: "approved",
    ApprovalState.REFUSED: "denied",
    ApprovalState.EXPIRED: "expired",
}


def requestable(house: House, row: Approval, now: int) -> dict[str, Any]:
    """What a denial says that a person may lift."""
    return {
        "evaluation_id": row.id,
        "evaluated_at": stamp(now),
        "reason": "approval_required",
        "access_request": {
            "endpoint": f"{house.url}/access/v1/requests",
            "expires_at": stamp(row.expires_at),
            "display": {"title": "A person must agree", "description": row.shown.sentence},
        },
    }


async def submit(house: House, call: Call, asked: Asked) -> Response:
    """POST /access/v1/requests: the same submission again answers with the same task."""
    body = json_input.parse(asked.body, limit=asked.limit)
    if not isinstance(body, Mapping):
        raise Malformed("The body must be a JSON object.")
    if "items" in body:
        raise BadField("items", "are not taken; ask for one access at a time")
    denial = body.get("denial")
    if not isinstance(denial, Mapping) or not isinstance(denial.get("evaluation_id"), str):
        return _error("invalid_denial_binding", "denial.evaluation_id is needed; there is no binding_token here.")
    row = await house.env.store.get(Approval, denial["evaluation_id"])
    if row is None or not await may_see(house, call, row):
        return _error("invalid_denial_binding", "There is no such denial here, or it is not yours.")
    if not _is_of(row, body) or denial.get("expires_at") != stamp(row.expires_at):
        return _error("invalid_denial_binding", "The denial is of another access, or of another time.")
    if call.now >= row.expires_at:
        return _error("expired_denial", "The denial's time is over; evaluate again.", 410)
    found = _task(house, row)
    return json_response(found, 201, headers={"Location": found["task"]["status_endpoint"]})


async def status(house: House, call: Call, asked: Asked) -> Response:
    """GET /access/v1/requests/{request}."""
    row = await house.env.store.get(Approval, asked.path["request"])
    if row is None or not await may_see(house, call, row):
        return _error("unknown_task", "There is no such task here, or it is not yours to see.", 404)
    waits = {"Retry-After": "2"} if row.state is ApprovalState.PENDING else {}
    return json_response(_task(house, row), headers=waits)


def _task(house: House, row: Approval) -> dict[str, Any]:
    status = _STATUS[row.state]
    handle: dict[str, Any] = {
        "id": row.id,
        "status": status,
        "status_endpoint": f"{house.url}/access/v1/requests/{row.id}",
        "expires_at": stamp(row.expires_at),
        "links": {"review": f"{house.url}/console/approvals/{row.id}"},
    }
    if status != "approved":
        return {"task": handle}
    at = max(one.at for one in row.answers)
    approval = {"id": row.id, "approved_at": stamp(at), "approved_until": stamp(row.expires_at)}
    return {"task": handle, "result": {"mode": "reevaluate", "approval": approval}}


def _is_of(row: Approval, body: Mapping[str, Any]) -> bool:
    """Whether this is the access that was denied, compared by its canonical form."""
    context = body.get("context")
    arguments = context.get("arguments", {}) if isinstance(context, Mapping) else {}
    said = [body.get("subject"), body.get("action"), body.get("resource"), arguments]
    shown = json_input.parse(row.shown.arguments.encode(), limit=1 << 20, depth=32)
    was = [{"type": "task", "id": row.task}, {"name": "call"}, {"type": "tool", "id": row.shown.tool}, shown]
    return canonical(said) == canonical(was)


def _error(code: str, detail: str, status: int = 400) -> Response:
    title = code.replace("_", " ")
    document = {"type": ERROR + code, "title": title, "status": status, "detail": detail, "code": _CODES[status]}
    return json_response(document, status, media="application/problem+json")


def stamp(instant: int) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
