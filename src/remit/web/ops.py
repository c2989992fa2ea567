"""Health, readiness, metrics, and the description of this API (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import BadField, Leaving
from remit.domain.keys import SIGNS
from remit.domain.lease import IssuerOutage, Lease, LeaseState, alive
from remit.domain.redecision import Redecision
from remit.domain.secret import SealedSecret
from remit.govern.estate import estate
from remit.govern.redecided import left
from remit.verbs.rotate import listed, replace_now
from remit.verbs.rotate import rotate as rotate_verb

from . import shapes
from .house import Asked, House
from .measured import read_gauges
from .problems import json_response, text_response


async def index(house: House, call: Call, asked: Asked) -> Response:
    """What this is and where to look next."""
    return json_response({"remit": house.url, "openapi": f"{house.url}/openapi.json"})


async def healthz(house: House, call: Call, asked: Asked) -> Response:
    """The process answers."""
    return text_response("ok\n")


async def readyz(house: House, call: Call, asked: Asked) -> Response:
    """The store answers, a catalogue is in force, an edge is fresh, and it is not about to stop; otherwise 503."""
    if house.leaving:
        raise Leaving("This process is about to stop.", next_step="Send requests to another one.")
    return text_response(await house.ready())


async def metrics(house: House, call: Call, asked: Asked) -> Response:
    """Prometheus text."""
    now = house.clock()
    late = await house.env.store.due(Lease, now, limit=1000)
    house.metrics.backlog.set(len(late))
    oldest = min((min(row.expires_at, row.retry_at or row.expires_at) for row in late), default=now)
    house.metrics.oldest.set(max(0, now - oldest) / 1000)
    house.metrics.overdue.set(len(await house.env.store.find(SealedSecret, {"overdue": "yes"}, limit=1000)))
    ending = await house.env.leases_in(LeaseState.ENDING)
    since: dict[str, int] = {}
    for row in ending:
        since[row.issuer] = min(since.get(row.issuer, now), row.ending_at)
    house.metrics.owed(alive(ending), {issuer: max(0, now - at) / 1000 for issuer, at in since.items()})
    for outage in await house.env.store.find(IssuerOutage, {}, limit=1000):
        house.metrics.down.labels(outage.issuer).set(0 if outage.over_at else 1)
    house.metrics.edges(await estate(house.env, house.log, now), now)
    changes = await house.env.store.find(Redecision, {"lasts": "yes"}, limit=1000)
    house.metrics.undecided.set(sum([await left(house.env, row) for row in changes]))
    house.metrics.undecided_oldest.set(max((now - row.since for row in changes), default=0) / 1000)
    await read_gauges(house, now)
    return text_response(house.metrics.text(), media="text/plain; version=0.0.4; charset=utf-8")


async def signing_keys(house: House, call: Call, asked: Asked) -> Response:
    """Every signing key with its state and dates, newest first within its use."""
    return json_response({"items": [shapes.signing_key(row) for row in await listed(house.env)], "next": ""})


async def rotate(house: House, call: Call, asked: Asked) -> Response:
    """Publish the next key of a use; with `now`, destroy every older one and sign with a fresh one at once."""
    wanted, use = asked.json(shapes.RotateRequest), asked.path["use"]
    if not wanted.now:
        return json_response({**shapes.signing_key(await rotate_verb(house.env, call, use)), "destroyed": []})
    if not wanted.reason:
        raise BadField("reason", "is required: everything signed by the old keys is refused from now on")
    row, destroyed = await replace_now(house.env, call, use, wanted.reason)
    return json_response({**shapes.signing_key(row), "destroyed": [key.kid for key in destroyed], "dies": SIGNS[use]})


async def openapi(house: House, call: Call, asked: Asked) -> Response:
    """This document."""
    from .routes import ROUTES

    return json_response(describe(house.url, [route for route in ROUTES if not route.browser]))


_PROBLEM = {
    "description": "Refused.",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}


def describe(url: str, routes: Any) -> dict[str, Any]:
    """OpenAPI 3.1 from the route table: paths, bodies, who may call, and every status a route can answer."""
    kinds = [route.body for route in routes if route.body is not None]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in routes:
        operation: dict[str, Any] = {
            "operationId": route.handler.__module__.rsplit(".", 1)[1] + "." + route.handler.__name__,
            "summary": (route.handler.__doc__ or "").strip().splitlines()[0],
            "x-callers": sorted(kind.value for kind in route.callers),
            "security": [] if CallerKind.ANYONE in route.callers else _security(route.callers),
            "responses": {str(code): _PROBLEM if code >= 400 else {"description": "Done."} for code in route.statuses},
        }
        names = [part[1:-1].partition(":")[0] for part in route.path.split("/") if part.startswith("{")]
        if names or route.query:
            operation["parameters"] = [_parameter(n, "path") for n in names] + [
                _parameter(n, "query") for n in route.query
            ]
        if route.body is not None:
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": by_kind[route.body]}},
            }
        elif route.form:
            form_schema = {"type": "object", "properties": {n: {"type": "string"} for n in route.form}}
            content = {"application/x-www-form-urlencoded": {"schema": form_schema}}
            operation["requestBody"] = {"required": True, "content": content}
        elif route.raw:
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        path = route.path.replace(":path}", "}")
        paths.setdefault(path, {})[route.method.lower()] = operation
    schemes = {
        "dpop": {"type": "http", "scheme": "DPoP", "description": "RFC 9449, with a DPoP proof header"},
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of a person, operator, auditor, enforcer or receiver",
        },
    }
    info = {
        "title": "Remit",
        "version": "1",
        "description": "Access for AI agents, by the task, not by the role.",
    }
    return {
        "openapi": "3.1.0",
        "info": info,
        "servers": [{"url": url}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": schemes},
    }


def _security(callers: frozenset[CallerKind]) -> list[dict[str, list[str]]]:
    dpop: list[dict[str, list[str]]] = [{"dpop": []}] if CallerKind.AGENT in callers else []
    return dpop + ([{"key": []}] if callers - {CallerKind.AGENT} else [])


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
