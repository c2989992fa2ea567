"""Evidence: a report on the controls of frameworks, with its proof."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import BadField, Busy
from remit.govern.evidence.frameworks import NAMES
from remit.govern.evidence.proof import proved
from remit.govern.evidence.report import Asked as Wanted

from .house import Asked, House
from .problems import json_response
from .shapes import Strict

AT_ONCE = 2
_running: set[object] = set()


class EvidenceRequest(Strict, frozen=True):
    """`frameworks`: `csf`, `ai-rmf`, `asi`, `nhi`, `maestro`; none: all. What is counted happened `since` then (ms)."""

    frameworks: tuple[str, ...] = ()
    since: int = 0


async def report(house: House, call: Call, asked: Asked) -> Response:
    """What enforces each control, whether it is in force, when it last acted, and the proof; its digest is logged."""
    body = asked.json(EvidenceRequest)
    async with turn():
        return json_response(
            await proved(house.env, house.log, house.log_name, call, wanted(body.frameworks, body.since))
        )


def wanted(frameworks: tuple[str, ...], since: int) -> Wanted:
    """What is asked for, each framework once, in the order of `NAMES`."""
    if unknown := sorted(set(frameworks) - set(NAMES)):
        raise BadField("frameworks", f"{unknown[0][:100]!r} is none; there are {', '.join(NAMES)}")
    if since < 0:
        raise BadField("since", "must not be negative")
    return Wanted(tuple(name for name in NAMES if name in frameworks or not frameworks), since)


@asynccontextmanager
async def turn() -> AsyncIterator[None]:
    """Reports read much: only so many at once."""
    if len(_running) >= AT_ONCE:
        raise Busy("Too many reports are being made.", next_step="Try again when one is done.")
    mine = object()
    _running.add(mine)
    try:
        yield
    finally:
        _running.discard(mine)
