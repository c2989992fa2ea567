"""Token Status List (draft-ietf-oauth-status-list): whether a token that is for others still stands, for anybody."""

from __future__ import annotations

import re

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import Absent, NotAcceptable, NotOffered
from remit.formats import token_status_list as tsl

from .house import Asked, House
from .problems import HEADERS, json_response

_KEPT = {"Cache-Control": f"public, max-age={tsl.TTL}", "Access-Control-Allow-Origin": "*"}
_NOT = re.compile(r"q\s*=\s*0(\.0*)?")
_TAKEN = (tsl.MEDIA, "application/*", "*/*")


async def status_list(house: House, call: Call, asked: Asked) -> Response:
    """GET /status/{list} (section 8)."""
    if "time" in asked.query:
        raise NotOffered("What a list said in the past is not told.", next_step="Leave `time` out.")
    if not _takes(asked.headers.get("accept", "*/*")):
        raise NotAcceptable(f"There is only {tsl.MEDIA} here.")
    number = asked.path["list"]
    if not number.isascii() or not number.isdecimal() or len(number) > 15 or number != str(int(number)):
        raise Absent(inside="no such list")
    body = await house.lists.signed(house.env, int(number))
    return Response(body, headers={**HEADERS, **_KEPT, "Vary": "Accept"}, media_type=tsl.MEDIA)


async def aggregation(house: House, call: Call, asked: Asked) -> Response:
    """GET /status (section 9): every list in which a token may stand."""
    lists = [tsl.address(house.url, number) for number in await house.lists.current(house.env)]
    return json_response({"status_lists": lists}, headers=_KEPT)


def _takes(accept: str) -> bool:
    """Whether a list as a JWT is among what is wanted (RFC 9110 section 12.5.1)."""
    for one in accept.lower().split(","):
        media, *parameters = (part.strip() for part in one.split(";"))
        if media in _TAKEN and not any(_NOT.fullmatch(p) for p in parameters):
            return True
    return False
