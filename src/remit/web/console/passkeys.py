"""A person's own passkeys: see them, register one, take one away."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import BadField, Refusal
from remit.formats import json_input, webauthn
from remit.verbs import enrol
from remit.web import shapes_approvals as shapes
from remit.web.house import Asked, House
from remit.web.problems import json_response

from .page import fields, onward

LIMIT = 65_536


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """The caller's passkeys, and why this server can make none, if it cannot."""
    rows = await house.env.passkeys(call.caller.name)
    return {"items": [shapes.passkey(row) for row in rows], "most": enrol.MOST, "flaw": _flaw(house)}


def _flaw(house: House) -> str:
    try:
        webauthn.relying_party(house.url)
    except Refusal as refusal:
        return f"{refusal.message}. {refusal.next_step}"
    return ""


async def invite(house: House, call: Call, asked: Asked) -> Response:
    """What the device is to make."""
    fields(asked)
    return json_response(await enrol.invitation(house.env, call))


async def register(house: House, call: Call, asked: Asked) -> Response:
    """Keep what the device made."""
    given = fields(asked)
    credential = json_input.parse(given.get("credential", "").encode(), limit=LIMIT)
    expires_at = given.get("expires_at", "")
    if not isinstance(credential, dict) or not expires_at.isdecimal() or len(expires_at) > 15:
        raise BadField("credential", "is not what a device made")
    await enrol.register(house.env, call, credential, given.get("nonce", ""), int(expires_at), given.get("title", ""))
    return onward("/console/passkeys")


async def remove(house: House, call: Call, asked: Asked) -> Response:
    """It answers nothing any more."""
    await enrol.remove(house.env, call, fields(asked).get("passkey", ""))
    return onward("/console/passkeys")
