"""Beat: ask the centre how long its log is, with a nonce, and know by that how fresh this edge is."""

from __future__ import annotations

import secrets

from remit import __version__
from remit.domain.catalogue import CatalogueHead
from remit.domain.errors import BadToken
from remit.domain.estate import EdgeSeen
from remit.formats.estate import Said
from remit.ports import Env
from remit.ports.estate import Centre

from .follow import Follow, held
from .freshness import Freshness
from .report import Report


async def beat(env: Env, centre: Centre, follow: Follow, freshness: Freshness, report: Report) -> bool:
    """Ask once; whether something is missing before what this answer tells, and makes the edge fresh, can be applied.

    What was applied before the question was committed before it, so an answer below that is of a log that has gone
    back. An edge that hears this, or that its own log was longer once, relies on nothing any more.
    """
    nonce, applied = secrets.token_hex(16), follow.size
    seen = await _seen(env, follow, report)
    t0 = freshness.now()
    heard = await centre.beat(nonce, seen)
    said = follow.verified(heard.statement, Said.BEAT, nonce)
    if said.size < applied:
        freshness.give_up()
        raise BadToken("The centre's log is shorter than it was.", inside=f"{said.size} < {applied}")
    if not report.heard(heard.received):
        freshness.give_up()
        raise BadToken(
            "The centre has taken in more than there is here: this store is older than what it reported.",
            next_step="Remove the edge's data directory, so that it comes back as a new incarnation.",
        )
    freshness.heard(t0, said.size)
    return not await follow.take_in(said)


async def _seen(env: Env, follow: Follow, report: Report) -> EdgeSeen:
    head = await env.store.get(CatalogueHead, "head")
    mine = len(await held(env))
    catalogue = head.at(env.place) if head else ""
    return EdgeSeen(env.place, follow.row.seat, follow.size, catalogue, mine, report.backlog, __version__, env.clock())
