"""How an agent has been held to its decisions, by what happened and not by what anybody claims.

*credential*: it was issued one for its task, and could not act without it. *gateway*: an enforcement point asked for
its calls. *hook*: its own process asked, which is advisory if that process was taken over. The grade is the weakest of
the ways its calls were decided; an agent whose calls nobody asks about is not seen here at all.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from remit.formats import json_input
from remit.ports import LogReader

LOOKED_AT = 2000  # newest events
WEAKEST_FIRST = ("hook", "gateway", "credential")


async def enforcement(log: LogReader, agent: str) -> dict[str, Any]:
    """The grade, what it is made of, and how many events were looked at."""
    size, _ = await log.head()
    seen: Counter[str] = Counter()
    found = await log.entries(max(0, size - LOOKED_AT), size)
    name = f'"{agent}"'.encode()
    for leaf in found:
        if name not in leaf:
            continue
        entry = json_input.parse(leaf, limit=len(leaf))
        if not isinstance(entry, dict) or not isinstance(entry["data"], dict) or entry["data"].get("agent") != agent:
            continue
        if entry["type"] == "AccessDecided":
            seen["gateway" if str(entry["by"]).startswith("enforcer:") else "hook"] += 1
        elif entry["type"] == "LeaseReserved":
            seen["credential"] += 1
    grade = next((one for one in WEAKEST_FIRST if seen[one]), "")
    return {"grade": grade, "seen": {one: seen[one] for one in WEAKEST_FIRST}, "events": len(found)}
