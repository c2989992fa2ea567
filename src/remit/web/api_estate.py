"""What edges ask of the centre: state, frames, how long the log is; tasks; and what they report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog
from starlette.responses import Response

from remit.domain.caller import AccessKey, Call, CallerKind
from remit.domain.catalogue import CatalogueFiles, CatalogueHead
from remit.domain.errors import Absent, BadField, ReportRefused
from remit.domain.estate import EdgeLog, EdgeSeen
from remit.formats import base64url
from remit.formats.estate import Body, Said, Signed, Statement, encode
from remit.govern.estate import estate
from remit.ports import Reported
from remit.verbs.entrust import entrust, give_back
from remit.verbs.join import forget, join
from remit.verbs.report import MOST, report

from . import shapes_estate as shapes
from .frame_stream import FrameStream
from .house import Asked, House
from .problems import json_response
from .shapes import ReasonRequest

_WHOLE = 2**53
_log = structlog.get_logger("remit.web")


async def list_edges(house: House, call: Call, asked: Asked) -> Response:
    """Every edge: what it follows, how far behind, what it holds, and what is wrong with it."""
    return json_response({"items": await estate(house.env, house.log, call.now), "next": ""})


async def show_edge(house: House, call: Call, asked: Asked) -> Response:
    """One edge."""
    found = [one for one in await estate(house.env, house.log, call.now) if one.name == asked.path["edge"]]
    if not found:
        raise Absent(inside=f"edge {asked.path['edge'][:64]}")
    return json_response(found[0])


async def forget_edge(house: House, call: Call, asked: Asked) -> Response:
    """It is gone for good: every task that it held ends."""
    reason = asked.json(ReasonRequest).reason
    return json_response({"ended": await forget(house.env, call, asked.path["edge"], reason)})


async def snapshot(house: House, call: Call, asked: Asked) -> Response:
    """What is in force; an incarnation that was never here joins."""
    wanted = asked.json(shapes.SnapshotRequest)
    _checked(wanted.nonce)
    await join(house.env, call, wanted.seat)
    size, _ = await house.log.head()  # before any row is read, so that they cover it
    await house.env.signer.refresh()
    frozen = await house.env.frozen()
    body: Body = {
        "catalogue": await house.env.store.get(CatalogueHead, "head"),
        "frozen": frozen if frozen.version else None,
        "keys": list(house.env.signer.public("token")),
        "trust_domain": house.env.trust_domain,
        "issuer": house.url,
    }
    return json_response(_answer(house, call, Said.SNAPSHOT, wanted.nonce, 0, size, body))


async def catalogue(house: House, call: Call, asked: Asked) -> Response:
    """The files of one revision that is or was in force."""
    found = await house.env.store.get(CatalogueFiles, asked.path["digest"])
    if found is None:
        raise Absent(inside=f"catalogue {asked.path['digest'][:80]}")
    return json_response({"files": dict(found.files)})


async def frames(house: House, call: Call, asked: Asked) -> Response:
    """What happened from `?since=` on; as server-sent events for whoever accepts them."""
    since = asked.whole("since", 0, most=_WHOLE)
    if "text/event-stream" in asked.headers.get("accept", ""):
        last = asked.headers.get("last-event-id", "")
        since = max(since, replace(asked, query={"Last-Event-ID": last}).whole("Last-Event-ID", 0, most=_WHOLE))
        return FrameStream(house.frames, call.caller.name, since)
    return json_response({"frames": [frame.signed for frame in await house.frames.pages(since)]})


async def beats(house: House, call: Call, asked: Asked) -> Response:
    """How long the log is, and what happened in it since what this edge has applied."""
    wanted = asked.json(shapes.BeatRequest)
    _checked(wanted.nonce)
    said = wanted.seen
    if (
        len(said.release) > 64
        or len(said.catalogue) > 80
        or not all(0 <= number < _WHOLE for number in (said.size, said.held, said.backlog))
    ):
        raise BadField("seen", "has a text that is too long, or a number that is none")
    await house.env.seated(call.caller.name, said.seat)
    since, size, body = await house.frames.since(said.size)
    log = await house.env.store.get(EdgeLog, f"{call.caller.name}/{said.seat}")
    house.sightings.saw(
        EdgeSeen(
            call.caller.name, said.seat, said.size, said.catalogue, said.held, said.backlog, said.release, call.now
        )
    )
    answer = _answer(house, call, Said.BEAT, wanted.nonce, since, size, body)
    return json_response({**answer, "received": log.received if log else 0})


async def entrusted(house: House, call: Call, asked: Asked) -> Response:
    """Hand a task over, with the key that digests what it reads."""
    wanted = asked.json(shapes.EntrustRequest)
    _checked(wanted.nonce)
    size = await house.frames.relied_on()
    found = await entrust(house.env, call, asked.path["task"], wanted.seat)
    body: Body = {"task": found.task, "identity": found.identity, "observations": found.observations}
    memory = base64url.encode(house.env.sealer.derive(found.task.memory))
    return json_response({**_answer(house, call, Said.ENTRUSTED, wanted.nonce, 0, size, body), "memory": memory})


async def returned(house: House, call: Call, asked: Asked) -> Response:
    """A task is decided here again."""
    wanted = asked.json(shapes.ReturnRequest)
    await give_back(house.env, call, asked.path["task"], wanted.seat, wanted.through)
    return json_response({})


async def reports(house: House, call: Call, asked: Asked) -> Response:
    """A stretch of an edge's log."""
    wanted = asked.json(shapes.ReportsRequest)
    if len(wanted.events) > MOST:
        raise BadField("events", f"at most {MOST}")
    told = [
        Reported(one.index, one.leaf.encode(), tuple(body.encode() for body in one.bodies)) for one in wanted.events
    ]
    try:
        return json_response({"received": await report(house.env, call, wanted.seat, told)})
    except ReportRefused as refused:
        house.metrics.reports_refused.labels(call.caller.name).inc()
        _log.warning("an edge reported what it may not", edge=call.caller.name, seat=wanted.seat, why=refused.message)
        raise


async def enforcer_key(house: House, call: Call, asked: Asked) -> Response:
    """The bearer key of an enforcement point by its SHA-256, so that it is known beside an edge as well."""
    row = await house.env.store.get(AccessKey, asked.path["digest"])
    if row is None or row.kind is not CallerKind.ENFORCER or call.now >= row.expires_at:
        raise Absent(inside="no such key of an enforcement point")
    return json_response(row)


def _checked(nonce: str) -> None:
    if not 16 <= len(nonce) <= 128 or not nonce.isascii() or not nonce.isprintable():
        raise BadField("nonce", "must be 16 to 128 characters")


def _answer(house: House, call: Call, said: Said, nonce: str, since: int, size: int, body: Body) -> dict[str, Any]:
    found = Statement(said, since, size, call.now, body, call.caller.name, nonce)
    signed: Signed = encode(found, house.url, house.env.token_key())
    return {"statement": signed.statement, "body": signed.body}
