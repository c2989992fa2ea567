"""What an agent has used of what it may use, by the whole log, however long that is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

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


LOOKED_AT = 20_000


@dataclass(frozen=True, slots=True)
class Calls:
    """Decisions about an agent, and credentials asked for it, the newest first; `more`: there are older ones."""

    entries: tuple[dict[str, Any], ...]
    more: bool


async def calls(log: Searched, agent: str, since: int, upto: int) -> Calls:
    """Since that instant (ms), below that place of the log; the newest `LOOKED_AT` of them."""
    found: list[dict[str, Any]] = []
    before = upto
    while before and len(found) < LOOKED_AT:
        page = await search(log, [used(agent)], before=before, limit=LOOKED_AT - len(found), since=since)
        found += [json.loads(leaf) for _, leaf in page.entries]
        before = page.next
    return Calls(tuple(found), bool(before))
