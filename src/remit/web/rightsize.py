"""What purposes grant against what was used of them, and the diff that would narrow them."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import Absent, BadField, Busy
from remit.govern.rightsize import rightsize, shape

from .house import Asked, House
from .problems import HEADERS, json_response

MOST = 20  # purposes at once
SECONDS = 120.0
_turn = asyncio.Lock()


async def _found(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    days = asked.whole("days", 30, most=366)
    if not days:
        raise BadField("days", "must be 1 to 366")
    _, force = await house.env.in_force()
    of, purposes = asked.query.get("of", ""), force.catalogue.purposes
    names = [name for name, one in sorted(purposes.items()) if not of or of in (name, *one.agents)]
    if not names:
        raise Absent(inside=f"no purpose or agent {of[:100]!r}")
    if len(names) > MOST:
        raise BadField("of", f"is needed: there are {len(names)} purposes, and {MOST} are looked at at once")
    if _turn.locked():
        raise Busy("Somebody else's is being worked out.", next_step="Try again in a moment.")
    async with _turn, asyncio.timeout(SECONDS):
        force_it = asked.query.get("force", "") == "yes"
        return shape(await rightsize(house.env, house.log, names, now=call.now, days=days, force=force_it))


async def proposals(house: House, call: Call, asked: Asked) -> Response:
    """Of `?of=` (a purpose, or an agent's purposes; none: all): use, what could go, and the replay that shows it."""
    return json_response(await _found(house, call, asked))


async def diff(house: House, call: Call, asked: Asked) -> Response:
    """The same as a unified diff of the catalogue's files, to review and apply; empty when nothing could go."""
    text = "".join(one["diff"] for one in (await _found(house, call, asked))["items"])
    headers = {**HEADERS, "Content-Disposition": 'attachment; filename="rightsize.diff"'}
    return Response(text, headers=headers, media_type="text/x-diff; charset=utf-8")
