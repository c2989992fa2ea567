"""How an agent has been held to its decisions, by what happened and not by what anybody claims.

*credential*: it was issued one for its task, and could not act without it. *gateway*: an enforcement point asked for
its calls. *hook*: its own process asked, which is advisory if that process was taken over. The grade is the weakest of
the ways its calls were decided; an agent whose calls nobody asks about is not seen here at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from remit.ports import LogReader

LOOKED_AT = 2000  # newest events
WEAKEST_FIRST = ("hook", "gateway", "credential")


class _Acted(msgspec.Struct):
    agent: str


class _Entry(msgspec.Struct):
    type: str
    by: str
    data: _Acted


_parse = msgspec.json.Decoder(_Entry).decode


async def enforcement(log: LogReader, agent: str) -> dict[str, Any]:
    """The grade, what it is made of, and how many events were looked at."""
    return (await enforcements(log, [agent]))[agent]


async def enforcements(log: LogReader, agents: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The same of several agents, for which the log is read once."""
    size, _ = await log.head()
    found = await log.entries(max(0, size - LOOKED_AT), size)
    seen: dict[str, Counter[str]] = {name: Counter() for name in agents}
    for leaf in found:
        if b'"type":"AccessDecided"' not in leaf and b'"type":"LeaseReserved"' not in leaf:
            continue
        entry = _parse(leaf)
        if entry.data.agent not in seen:
            continue
        if entry.type == "LeaseReserved":
            seen[entry.data.agent]["credential"] += 1
        else:
            seen[entry.data.agent]["gateway" if entry.by.startswith("enforcer:") else "hook"] += 1
    return {
        name: {
            "grade": next((one for one in WEAKEST_FIRST if ways[one]), ""),
            "seen": {one: ways[one] for one in WEAKEST_FIRST},
            "events": len(found),
        }
        for name, ways in seen.items()
    }
