"""The transmitter of Shared Signals 1.0: what it says of itself, and the streams of its receivers (section 8)."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import BadField
from remit.domain.stream import INACTIVE, POLL, PUSH, VERIFY_EVERY, Receiver, Stream, StreamState
from remit.formats import oauth_url
from remit.govern.outward import SUPPORTED
from remit.verbs import rotate
from remit.verbs import stream as verb
from remit.verbs.stream import Wanted

from .house import Asked, House
from .problems import HEADERS, json_response
from .shapes_signals import Delivery, StatusRequest, StreamRequest, SubjectRequest, VerificationRequest

STATES = {state.value: state for state in StreamState if state is not StreamState.GONE}
SUBJECT_LIMIT = 2048
_OURS = ("iss", "aud", "events_supported", "events_delivered", "min_verification_interval", "inactivity_timeout")


async def configuration(house: House, call: Call, asked: Asked) -> Response:
    """GET /.well-known/ssf-configuration (section 7.1)."""
    at = house.url
    return json_response(
        {
            "spec_version": "1_0",
            "issuer": at,
            "jwks_uri": f"{at}/.well-known/ssf-jwks.json",
            "delivery_methods_supported": [PUSH, POLL],
            "configuration_endpoint": f"{at}/ssf/streams",
            "status_endpoint": f"{at}/ssf/status",
            "add_subject_endpoint": f"{at}/ssf/subjects:add",
            "remove_subject_endpoint": f"{at}/ssf/subjects:remove",
            "verification_endpoint": f"{at}/ssf/verify",
            "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6750"}],
            "default_subjects": "ALL",
        }
    )


async def keys(house: House, call: Call, asked: Asked) -> Response:
    """GET /.well-known/ssf-jwks.json (RFC 7517): keys that sign events, and nothing else."""
    found = {"keys": [dict(key) for key in house.env.signer.public("signal")]}
    return json_response(found, headers={"Cache-Control": f"public, max-age={house.env.rotation.cached_for}"})


async def create(house: House, call: Call, asked: Asked) -> Response:
    """POST /ssf/streams: a receiver has one."""
    said, receiver = asked.json(StreamRequest), await verb.receiver_of(house.env, call)
    wanted = _wanted(house, receiver, said)
    await rotate.begin(house.env, call, "signal")
    size, _ = await house.log.head()
    row = await verb.make(house.env, call, wanted, size)
    return json_response(_shown(house, receiver, row), 201)


async def read(house: House, call: Call, asked: Asked) -> Response:
    """GET /ssf/streams: the one of this id, or a list of all there are."""
    receiver = await verb.receiver_of(house.env, call)
    if "stream_id" not in asked.query:
        row = await house.env.store.get(Stream, receiver.name)
        return json_response([_shown(house, receiver, row)] if row and row.open else [])
    _, row = await verb.stream_of(house.env, call, asked.query["stream_id"])
    await verb.heard(house.env, call, row)
    return json_response(_shown(house, receiver, row))


async def update(house: House, call: Call, asked: Asked) -> Response:
    """PATCH /ssf/streams: what is said is changed, and nothing else."""
    said = asked.json(StreamRequest)
    receiver, row = await _checked(house, call, said)
    row = await verb.change(house.env, call, row.id, _wanted(house, receiver, said, new=False))
    return json_response(_shown(house, receiver, row))


async def replace(house: House, call: Call, asked: Asked) -> Response:
    """PUT /ssf/streams: what is not said is as it would be in a new stream."""
    said = asked.json(StreamRequest)
    receiver, row = await _checked(house, call, said)
    row = await verb.change(house.env, call, row.id, _wanted(house, receiver, said))
    return json_response(_shown(house, receiver, row))


async def delete(house: House, call: Call, asked: Asked) -> Response:
    """DELETE /ssf/streams."""
    size, _ = await house.log.head()
    await verb.turn(house.env, call, asked.query.get("stream_id", ""), StreamState.GONE, "deleted", size)
    return Response(status_code=204, headers=HEADERS)


async def status(house: House, call: Call, asked: Asked) -> Response:
    """GET /ssf/status."""
    _, row = await verb.stream_of(house.env, call, asked.query.get("stream_id", ""))
    await verb.heard(house.env, call, row)
    return json_response(_status(row))


async def turn(house: House, call: Call, asked: Asked) -> Response:
    """POST /ssf/status."""
    said = asked.json(StatusRequest)
    if said.status not in STATES:
        raise BadField("status", f"must be one of {', '.join(STATES)}")
    size, _ = await house.log.head()
    row = await verb.turn(house.env, call, said.stream_id, STATES[said.status], said.reason, size)
    return json_response(_status(row))


async def add_subject(house: House, call: Call, asked: Asked) -> Response:
    """POST /ssf/subjects:add: nothing is said about whether there is such a subject."""
    await _want(house, call, asked, wanted=True)
    return Response(status_code=200, headers=HEADERS)


async def remove_subject(house: House, call: Call, asked: Asked) -> Response:
    """POST /ssf/subjects:remove."""
    await _want(house, call, asked, wanted=False)
    return Response(status_code=204, headers=HEADERS)


async def verify(house: House, call: Call, asked: Asked) -> Response:
    """POST /ssf/verify."""
    said = asked.json(VerificationRequest)
    await verb.verify(house.env, call, said.stream_id, said.state)
    return Response(status_code=204, headers=HEADERS)


async def _want(house: House, call: Call, asked: Asked, *, wanted: bool) -> None:
    said = asked.json(SubjectRequest)
    if len(json.dumps(said.subject)) > SUBJECT_LIMIT or not isinstance(said.subject.get("format"), str):
        raise BadField("subject", "must be a subject identifier (RFC 9493) of at most 2048 characters")
    await verb.want(house.env, call, said.stream_id, said.subject, wanted=wanted)


async def _checked(house: House, call: Call, said: StreamRequest) -> tuple[Receiver, Stream]:
    """What is ours must be said as it is, if it is said (section 8.1.1.3)."""
    receiver, row = await verb.stream_of(house.env, call, said.stream_id or "")
    shown = _shown(house, receiver, row)
    for name in _OURS:
        value = getattr(said, name)
        if value is not None and value != shown[name]:
            raise BadField(name, "is not what it is here")
    return receiver, row


def _wanted(house: House, receiver: Receiver, said: StreamRequest, *, new: bool = True) -> Wanted:
    kinds = said.events_requested
    delivery = said.delivery or (Delivery(POLL) if new else None)
    url, authorization = None, ""
    if delivery is not None:
        if delivery.method not in (PUSH, POLL):
            raise BadField("delivery.method", f"must be {PUSH} or {POLL}")
        url = ""
        if delivery.method == PUSH:
            private = receiver.allow_private_network
            url = oauth_url.checked(delivery.endpoint_url, "delivery.endpoint_url", allow_private=private)
            authorization = delivery.authorization_header
    return Wanted(
        tuple(kind for kind in SUPPORTED if kind in kinds) if kinds is not None else () if new else None,
        url,
        authorization,
        said.description if said.description is not None or not new else "",
    )


def _shown(house: House, receiver: Receiver, row: Stream) -> dict[str, Any]:
    """A stream as its receiver sees it; the header it gave is never shown again."""
    delivery = {"method": PUSH, "endpoint_url": row.url} if row.url else {"method": POLL, "endpoint_url": ""}
    if not row.url:
        delivery["endpoint_url"] = f"{house.url}/ssf/poll/{row.id}"
    return {
        "stream_id": row.id,
        "iss": house.url,
        "aud": receiver.audience,
        "events_supported": list(SUPPORTED),
        "events_requested": list(row.kinds),
        "events_delivered": list(row.kinds),
        "delivery": delivery,
        "min_verification_interval": VERIFY_EVERY // 1000,
        "inactivity_timeout": INACTIVE // 1000,
        "description": row.description,
    }


def _status(row: Stream) -> dict[str, str]:
    return {"stream_id": row.id, "status": row.state.value, **({"reason": row.reason} if row.reason else {})}
