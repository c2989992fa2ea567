"""Bodies of Shared Signals 1.0 and RFC 8936."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Text = Annotated[str, msgspec.Meta(max_length=1024)]
Jti = Annotated[str, msgspec.Meta(max_length=256)]
Kinds = Annotated[list[Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=100)]


class Delivery(msgspec.Struct):
    """How a receiver gets its events (section 6.1)."""

    method: Text
    endpoint_url: Annotated[str, msgspec.Meta(max_length=2048)] = ""
    authorization_header: Annotated[str, msgspec.Meta(max_length=4096, pattern="^[ -~]*$")] = ""


class StreamRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a receiver says of its stream (section 8.1.1); the rest is ours, and if it is said it must be right."""

    stream_id: Id | None = None
    iss: Text | None = None
    aud: Any = None
    events_supported: Kinds | None = None
    events_requested: Kinds | None = None
    events_delivered: Kinds | None = None
    delivery: Delivery | None = None
    min_verification_interval: int | None = None
    inactivity_timeout: int | None = None
    description: Text | None = None


class StatusRequest(msgspec.Struct):
    """Section 8.1.2.2."""

    stream_id: Id
    status: Id
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class SubjectRequest(msgspec.Struct):
    """Sections 8.1.3.2 and 8.1.3.3."""

    stream_id: Id
    subject: dict[str, Any]
    verified: bool = True


class VerificationRequest(msgspec.Struct):
    """Section 8.1.4.2."""

    stream_id: Id
    state: Annotated[str, msgspec.Meta(max_length=256)] = ""


class SetError(msgspec.Struct):
    """Why a poller cannot use an event (RFC 8936 section 2.6)."""

    err: Text
    description: Text = ""


class PollRequest(msgspec.Struct, rename="camel"):
    """RFC 8936 section 2.2."""

    max_events: Annotated[int, msgspec.Meta(ge=0)] = 50
    return_immediately: bool = False
    ack: Annotated[list[Jti], msgspec.Meta(max_length=1000)] = []
    set_errs: Annotated[dict[Jti, SetError], msgspec.Meta(max_length=1000)] = {}
