"""Our trust domain's bundle endpoint, profile https_web (SPIFFE Federation section 5.2.1)."""

from __future__ import annotations

from starlette.responses import Response

from remit.domain.caller import Call
from remit.formats.spiffe import encode_bundle

from .house import Asked, House
from .problems import json_response


async def bundle(house: House, call: Call, asked: Asked) -> Response:
    """GET /spiffe/bundle."""
    return json_response(encode_bundle(await house.env.own_bundle()))
