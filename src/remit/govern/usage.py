"""What an agent has used of what it may use, by the log, however long that is."""

from __future__ import annotations

import json
from typing import Any

from .search import Searched, search

LOOKED_AT = 20  # events that have the words in them, for one answer
_ACTS = ("AccessDecided", "LeaseReserved", "TaskProposed", "TokenIssued")


async def last_use(log: Searched, agent: str) -> int:
    """When the agent was last seen to do something itself (ms); 0: never."""
    for act in _ACTS:
        newest = await _newest(log, [agent, act], {"agent": agent})
        if newest:
            return int(newest["at"])
    return 0


async def last_permit(log: Searched, agent: str, tool: str) -> int:
    """When the agent was last permitted a call of this tool (ms); 0: never, as far as can be told."""
    wanted = {"agent": agent, "tool": tool, "decision": "permit"}
    found = await _newest(log, ["AccessDecided", agent, tool, "permit"], wanted)
    return int(found["at"]) if found else 0


async def _newest(log: Searched, words: list[str], wanted: dict[str, str]) -> dict[str, Any] | None:
    for _, leaf in (await search(log, words, limit=LOOKED_AT)).entries:
        entry: dict[str, Any] = json.loads(leaf)
        if all(entry["data"].get(name) == value for name, value in wanted.items()):
            return entry
    return None
