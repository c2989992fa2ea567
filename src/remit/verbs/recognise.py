"""Recognise: a scan says what it found, by digests; what it is, is found out afterwards.

Whoever reports is told nothing: not what is known here, nor by how long the answer takes. So a scanner's key is no
way to find out what a secret is.
"""

from __future__ import annotations

from collections.abc import Sequence

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import BadField
from remit.domain.leak import ScanReport, Seen
from remit.ports import Env

MOST = 2_000


async def take(env: Env, call: Call, seen: Sequence[Seen]) -> ScanReport:
    """Keep it until it was compared (`work.recognise`): durable when this returns. Prints are of `Env.print_of`."""
    if not 0 < len(seen) <= MOST:
        raise BadField("seen", f"must be 1 to {MOST} secrets")
    for place, one in enumerate(seen):
        one.checked(f"seen[{place}]")
    row = ScanReport(env.new_id("scn"), call.now, str(call.caller), tuple(seen))
    await env.store.commit(Change(events.ScanTaken(row.id, len(seen)), call).put(row, was=None))
    env.nudge()
    return row
