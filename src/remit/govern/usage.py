"""What an agent has used of what it may use, by the whole log, however long that is.

Only a permit is use: what was held or denied is somebody's wish, and anybody can wish often.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from remit.domain.narrowing import Entitlement
from remit.domain.purpose import Purpose
from remit.formats.log_words import called, issued, number, permitted, used, words

from .search import TAIL, Searched, place_of, search

MOST = 1000


@dataclass(frozen=True, slots=True)
class Use:
    """Of one tool, by one agent, under one purpose, since some instant. Counts stop at `MOST`: so many or more.

    `last_permit` and `since` are ms; 0 is never, and from the beginning. A decision from before purposes were written
    down counts nowhere here: `last_permit(log, agent, tool)` knows of it.
    """

    agent: str
    purpose: str
    tool: str
    since: int
    permitted: int
    held: int
    denied: int
    last_permit: int


async def last_use(log: Searched, agent: str) -> int:
    """When a call of the agent was last decided, or it was given a credential (ms); 0: never."""
    return await _newest(log, used(agent))


async def last_permit(log: Searched, agent: str, tool: str) -> int:
    """When the agent was last permitted a call of this tool (ms); 0: never."""
    return await _newest(log, permitted(agent, tool))


async def last_issue(log: Searched, agent: str, purpose: str, credential: str, *, upto: int = 0) -> int:
    """When the agent was last given this credential under this purpose (ms); 0: never."""
    return await _newest(log, issued(purpose, agent, credential), upto)


async def never_used(log: Searched, agent: str, held: Entitlement, *, since: int = 0, upto: int = 0) -> bool:
    """Whether it is known that the agent was not once permitted this, or given it. What was used before purposes were
    written down, or so often under others that this cannot be told, is not known.
    """
    tool = held.kind == "tool"
    wanted = [permitted(agent, held.name)] if tool else ["LeaseReserved", used(agent)]
    before, seen = upto, 0
    while seen < MOST:
        page = await search(log, wanted, before=before, limit=200, since=since)
        for _, leaf in page.entries:
            said = json.loads(leaf)["data"]
            if said[held.kind] == held.name and said.get("purpose", "") in ("", held.purpose):
                return False
        before, seen = page.next, seen + max(1, len(page.entries))
        if not before:
            return True
    return False


async def uses(
    log: Searched, purpose: Purpose, *, agents: Iterable[str] = (), since: int = 0, upto: int = 0
) -> tuple[Use, ...]:
    """Each tool that it grants, for each of its agents (or of these); `upto` is a place of the log (0: its end)."""
    size, _ = await log.head()
    size = min(size, upto or size)
    bottom = await place_of(log, size, since) if since else 0
    count = await _Count.of(log, size, bottom)
    found = []
    for agent in agents or purpose.agents:
        for tool in sorted({grant.tool for grant in purpose.grants}):
            await asyncio.sleep(0)  # decisions wait for nobody's reading
            yes, held, no = [await count(called(how, purpose.name, agent, tool)) for how in ("permit", "hold", "deny")]
            last = await _newest(log, called("permit", purpose.name, agent, tool), upto) if yes else 0
            found.append(Use(agent, purpose.name, tool, since, yes, held, no, last))
    return tuple(found)


class _Count:
    """How many events have a word: by the index, and by reading what it has not reached."""

    def __init__(self, log: Searched, indexed: int, bottom: int, tail: Counter[str]) -> None:
        self._log, self._indexed, self._bottom, self._tail = log, indexed, bottom, tail

    @classmethod
    async def of(cls, log: Searched, size: int, bottom: int) -> _Count:
        indexed = min(await log.indexed(), size)
        leaves = await log.entries(max(indexed, bottom, size - TAIL), size)
        return cls(log, indexed, bottom, Counter(word for leaf in leaves for word in words(leaf) if " " in word))

    async def __call__(self, word: str) -> int:
        places, _ = await self._log.places([number(word)], self._indexed, MOST)
        return min(MOST, sum(place >= self._bottom for place in places) + self._tail[word])


async def _newest(log: Searched, word: str, upto: int = 0) -> int:
    for _, leaf in (await search(log, [word], before=upto, limit=1)).entries:
        return int(json.loads(leaf)["at"])
    return 0
