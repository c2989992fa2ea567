"""Where identity providers push what they say of people (RFC 8935): an acknowledged event has had its effect."""

from __future__ import annotations

import hmac

from starlette.responses import Response

from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.errors import Absent, BadSignal
from remit.domain.signal import Transmitter
from remit.formats import rfc8417
from remit.verbs.heed import heed

from .house import Asked, House
from .problems import json_response


async def push(house: House, call: Call, asked: Asked) -> Response:
    """POST /signals/{name}."""
    _, force = await house.env.in_force()
    by = force.catalogue.transmitters.get(asked.path["name"])
    if by is None or by.poll_url:
        raise Absent(inside="no such transmitter pushes here")
    try:
        await _check_sender(house, by, asked, call.now)
        if asked.headers.get("content-type", "").partition(";")[0].strip().lower() != rfc8417.MEDIA:
            raise BadSignal("invalid_request", f"Content-Type must be {rfc8417.MEDIA}")
        said = await house.env.signals.heard(by, asked.body.decode("latin-1").strip(), call.now)
    except BadSignal as bad:
        house.metrics.unauthenticated.labels(bad.code).inc()
        return json_response({"err": bad.err, "description": bad.message}, 401 if bad.err == "access_denied" else 400)
    await heed(house.env, Call(Caller(CallerKind.SYSTEM, f"signals/{by.name}"), call.now, call.trace), by, said)
    return Response(status_code=202)


async def _check_sender(house: House, by: Transmitter, asked: Asked, now: int) -> None:
    """The signature says who said it; the header, where one is agreed on, keeps everybody else from making us check."""
    if not by.secret:
        return
    wanted = await house.env.unsealed(by.secret, now)
    if not hmac.compare_digest(wanted.encode(), asked.headers.get("authorization", "").encode()):
        raise BadSignal("access_denied", "not the Authorization header that was agreed on")
