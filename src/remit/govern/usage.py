"""What an agent has used of what it may use, by the whole log, however long that is."""

from __future__ import annotations

import json

from remit.formats.log_words import permitted, used

from .search import Searched, search


async def last_use(log: Searched, agent: str) -> int:
    """When a call of the agent was last decided, or it was given a credential (ms); 0: never."""
    return await _newest(log, used(agent))


async def last_permit(log: Searched, agent: str, tool: str) -> int:
    """When the agent was last permitted a call of this tool (ms); 0: never."""
    return await _newest(log, permitted(agent, tool))


async def _newest(log: Searched, word: str) -> int:
    for _, leaf in (await search(log, [word], limit=1)).entries:
        return int(json.loads(leaf)["at"])
    return 0
