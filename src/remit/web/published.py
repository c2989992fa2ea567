"""What issuers publish for those who check their credentials: authorities' keys, revocation lists."""

from __future__ import annotations

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import Absent

from .house import Asked, House


async def document(house: House, call: Call, asked: Asked) -> Response:
    """GET /issuers/{issuer}/{document}. An issuer that publishes nothing and one that is not there look the same."""
    _, force = await house.env.in_force()
    config = force.catalogue.issuers.get(asked.path["issuer"])
    publish = getattr(house.env.issuer(config), "published", None) if config else None
    found = await publish(asked.path["document"]) if publish else None
    if found is None:
        raise Absent(inside="no such document")
    media, body = found
    return Response(body, media_type=media, headers={"Cache-Control": "no-cache"})
