"""What an agent has used of what it may use, by the whole log, however long that is.

Only a permit is use: what was held or denied is somebody's wish, and anybody can wish often.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

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


async def last_issue(log: Searched, agent: str, purpose: str, credential: str) -> int:
    """When the agent was last given this credential under this purpose (ms); 0: never."""
    return await _newest(log, issued(purpose, agent, credential))


async def uses(log: Searched, purpose: Purpose, *, agents: Iterable[str] = (), since: int = 0) -> tuple[Use, ...]:
    """Each tool that the purpose grants, for each of its agents (or of these)."""
    size, _ = await log.head()
    bottom = await place_of(log, size, since) if since else 0
    count = await _Count.of(log, size, bottom)
    found = []
    for agent in agents or purpose.agents:
        for tool in sorted({grant.tool for grant in purpose.grants}):
            yes, held, no = [await count(called(how, purpose.name, agent, tool)) for how in ("permit", "hold", "deny")]
            last = await _newest(log, called("permit", purpose.name, agent, tool)) if yes else 0
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


async def _newest(log: Searched, word: str) -> int:
    for _, leaf in (await search(log, [word], limit=1)).entries:
        return int(json.loads(leaf)["at"])
    return 0
