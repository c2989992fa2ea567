"""From a report to a file that can be checked: its digest becomes an event, and every event that it carries, and that
one, has a path to one signed checkpoint.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Protocol

from remit.domain.caller import Call
from remit.domain.errors import Unavailable
from remit.formats import jcs, tlog
from remit.log import tiles
from remit.ports import Env, Wake, Wakes, looked
from remit.verbs.testify import testify

from .report import Asked, Log, report

SECONDS = 20.0


class Provable(Log, Wakes, Protocol):
    """What is needed of a store."""


async def proved(env: Env, log: Provable, log_name: str, call: Call, asked: Asked) -> dict[str, Any]:
    """A report with its proof."""
    return await sealed(env, log, log_name, call, await report(env, log, log_name, asked, call.now))


async def sealed(env: Env, log: Provable, log_name: str, call: Call, made: dict[str, Any]) -> dict[str, Any]:
    """With its proof. The event that says that it leaves is in the log before this returns (law 4)."""
    digest, (size, _) = jcs.digest(made), await log.head()
    names = tuple(one["id"] for one in made["frameworks"])
    with log.woken(Wake.SEQUENCED) as woken:
        await testify(env, call, digest, names, made["counted"]["start"], made["counted"]["end"])
        try:
            async with asyncio.timeout(SECONDS):
                place, leaf = await _found(log, digest, size, woken)
        except TimeoutError as late:
            step = "Is anybody sequencing? See `remit doctor`; then ask again."
            raise Unavailable("The report's event has no place in the log yet.", next_step=step) from late
    size, note = await log.head()
    paths = {}
    for at in (*map(int, made["events"]), place):
        path = await tiles.with_tiles(lambda read, at=at: tiles.inclusion_proof(at, size, read), log.tile)  # type: ignore[misc]
        paths[str(at)] = [base64.b64encode(one).decode() for one in path]
    signing = env.signer.signing("log")
    public = next(key for key in env.signer.public("log") if key["kid"] == signing)
    key = str(tlog.note_key(log_name, public))
    proof = {"checkpoint": note, "key": key, "place": place, "event": leaf.decode(), "paths": paths}
    return {"report": made, "proof": proof}


async def _found(log: Provable, digest: str, start: int, woken: asyncio.Event) -> tuple[int, bytes]:
    """Where the event with this digest is, at or after `start`."""
    while True:
        size, _ = await log.head()
        while start < size:
            page = await log.entries(start, min(size, start + 500))
            for place, leaf in enumerate(page, start):
                if digest.encode() in leaf:
                    return place, leaf
            start += len(page)
        await looked(woken)
