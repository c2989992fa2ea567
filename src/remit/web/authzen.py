"""OpenID AuthZEN Authorization API 1.0: evaluation and evaluations. A denial is 200 with `decision: false`.

subject `{type: "task", id}`, action `{name: "call"}`, resource `{type: "tool", id}`, context `{arguments, pin}`.
Unknown fields are ignored (section 5); whatever we do not know is simply not permitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from remit.domain.approval import Approval
from remit.domain.caller import Call, CallerKind
from remit.domain.decision import Access
from remit.domain.errors import Absent, BadField, Malformed
from remit.formats import json_input

from .authzen_requests import CAPABILITY, requestable
from .house import Asked, House
from .problems import json_response

BATCH = 100
_SEMANTICS = ("execute_all", "deny_on_first_deny", "permit_on_first_permit")
_DEFAULTS = ("subject", "action", "resource", "context")


async def evaluation(house: House, call: Call, asked: Asked) -> Response:
    """POST /access/v1/evaluation."""
    body = _body(asked)
    return _answer(asked, await _evaluate(house, call, body))


async def evaluations(house: House, call: Call, asked: Asked) -> Response:
    """POST /access/v1/evaluations: defaults merge key by key, an ill-formed item is a denial of that item."""
    body = _body(asked)
    items = body.get("evaluations", [])
    if not isinstance(items, list) or len(items) > BATCH:
        raise BadField("evaluations", f"must be a list of at most {BATCH}")
    if not items:
        return _answer(asked, await _evaluate(house, call, body))
    options = body.get("options", {})
    semantic = options.get("evaluations_semantic", "execute_all") if isinstance(options, Mapping) else ""
    if semantic not in _SEMANTICS:
        raise BadField("options.evaluations_semantic", f"must be one of {', '.join(_SEMANTICS)}")
    defaults = {name: body[name] for name in _DEFAULTS if name in body}
    results: list[dict[str, Any]] = []
    for item in items:
        try:
            if not isinstance(item, Mapping):
                raise Malformed("an evaluation is not an object")
            result = await _evaluate(house, call, {**defaults, **item})
        except Malformed as bad:
            result = {"decision": False, "context": {"error": {"status": 400, "message": bad.message}}}
        results.append(result)
        stop = {"deny_on_first_deny": False, "permit_on_first_permit": True}.get(semantic)
        if stop is not None and result["decision"] is stop:
            break
    return _answer(asked, {"evaluations": results})


def _body(asked: Asked) -> Mapping[str, Any]:
    if asked.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadField("Content-Type", "must be application/json")
    body = json_input.parse(asked.body, limit=asked.limit)
    if not isinstance(body, Mapping):
        raise Malformed("The body must be a JSON object.")
    return body


async def _evaluate(house: House, call: Call, body: Mapping[str, Any]) -> dict[str, Any]:
    subject, action, resource = _entity(body, "subject"), _named(body, "action"), _entity(body, "resource")
    context = body.get("context", {})
    if not isinstance(context, Mapping) or not isinstance(context.get("arguments", {}), Mapping):
        raise BadField("context", "must be an object, and so must context.arguments")
    pin = context.get("pin", "")
    if not isinstance(pin, str):
        raise BadField("context.pin", "must be text")
    if (subject[0], action, resource[0]) != ("task", "call", "tool"):
        return _no("unknown_type", "Ask about subject type task, action call, resource type tool.")
    if call.caller.kind is CallerKind.AGENT and call.caller.task != subject[1]:
        return _no("absent", "There is no such task here, or it is not yours to see.")
    try:
        shown = await house.decided(call, Access(subject[1], resource[1], context.get("arguments", {}), pin))
    except Absent:
        return _no("absent", "There is no such task here, or it is not yours to see.")
    reasons = {"decision": shown["decision"], "reasons": shown["why"]}
    asked = shown.get("approval", {})
    held = await house.env.store.get(Approval, asked["id"]) if asked else None
    requested = requestable(house, held, call.now) if held else {}
    approval = {"approval": asked} if asked else {}
    return {"decision": shown["decision"] == "permit", "context": {**reasons, **approval, **requested}}


def _no(code: str, sentence: str) -> dict[str, Any]:
    return {
        "decision": False,
        "context": {"decision": "deny", "reasons": [{"code": code, "sentence": sentence}]},
    }


def _entity(body: Mapping[str, Any], name: str) -> tuple[str, str]:
    value = body.get(name)
    if not isinstance(value, Mapping):
        raise BadField(name, "is required and must be an object with type and id")
    kind, identifier = value.get("type"), value.get("id")
    if not isinstance(kind, str) or not isinstance(identifier, str) or not kind or not identifier:
        raise BadField(f"{name}.{'id' if isinstance(kind, str) and kind else 'type'}", "is required and must be text")
    return kind, identifier


def _named(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise BadField(f"{name}.name", "is required and must be text")
    return str(value["name"])


def _answer(asked: Asked, value: Any) -> Response:
    request_id = asked.headers.get("x-request-id", "")
    usable = 0 < len(request_id) <= 200 and request_id.isascii() and request_id.isprintable()
    return json_response(value, headers={"X-Request-ID": request_id} if usable else {})


async def metadata(house: House, call: Call, asked: Asked) -> Response:
    """GET /.well-known/authzen-configuration."""
    at = house.url
    document = {
        "policy_decision_point": at,
        "access_evaluation_endpoint": f"{at}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{at}/access/v1/evaluations",
        "access_request_endpoint": f"{at}/access/v1/requests",
        "capabilities": [CAPABILITY],
    }
    return json_response(document)
