"""What an agent has used of what it may use, by the whole log, however long that is.

Only a permit is use: what was held or denied is somebody's wish, and anybody can wish often.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from remit.domain.purpose import Purpose
from remit.formats.log_words import called, issued, number, permitted, used, words

from .search import PAGE, TAIL, Searched, place_of, search

MOST = 1000
PAIRS = 2_000  # of agent and tool, that are counted at once


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


@dataclass(frozen=True, slots=True)
class Unused:
    """What a purpose grants and none of `agents` had since `since` (ms): no permit of a tool, no issue of a credential.

    `blind`: part of that time is from before decisions said their purpose. A tool that was permitted then under any
    purpose is not in `tools`, and `credentials` is empty.
    """

    purpose: str
    agents: frozenset[str]
    since: int
    tools: frozenset[str]
    credentials: frozenset[str]
    blind: bool = False


async def last_use(log: Searched, agent: str) -> int:
    """When a call of the agent was last decided, or it was given a credential (ms); 0: never."""
    return await _newest(log, used(agent))


async def last_permit(log: Searched, agent: str, tool: str) -> int:
    """When the agent was last permitted a call of this tool (ms); 0: never."""
    return await _newest(log, permitted(agent, tool))


async def last_issue(log: Searched, agent: str, purpose: str, credential: str, *, upto: int = 0) -> int:
    """When the agent was last given this credential under this purpose (ms); 0: never."""
    return await _newest(log, issued(purpose, agent, credential), upto)


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


async def unused(
    log: Searched, purpose: Purpose, *, agents: Iterable[str] = (), since: int = 0, upto: int = 0
) -> Unused:
    """What none of its agents (or of these) was permitted or given since then, by the whole log up to `upto`."""
    who = frozenset(agents) or frozenset(purpose.agents)
    blind = await _blind(log, since)
    tools, credentials = set[str](), set[str]()
    for tool in {grant.tool for grant in purpose.grants}:
        permits = [called("permit", purpose.name, agent, tool) for agent in who]
        permits += [permitted(agent, tool) for agent in who] if blind else []
        if not await _any(log, permits, since, upto):
            tools.add(tool)
    for rule in () if blind else purpose.credentials:
        if not await _any(log, [issued(purpose.name, agent, rule.name) for agent in who], since, upto):
            credentials.add(rule.name)
    return Unused(purpose.name, who, since, frozenset(tools), frozenset(credentials), blind)


async def _any(log: Searched, said: Iterable[str], since: int, upto: int) -> bool:
    for word in said:
        if await _newest(log, word, upto) >= max(1, since):
            return True
    return False


async def _blind(log: Searched, since: int) -> bool:
    """Whether the first decision of that time does not say its purpose."""
    size, _ = await log.head()
    start = await place_of(log, size, since) if since else 0
    for at in range(start, min(size, start + TAIL), PAGE):
        for leaf in await log.entries(at, min(size, at + PAGE)):
            if b'"type":"AccessDecided"' in leaf:
                return not json.loads(leaf)["data"].get("purpose")
    return False


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
        await asyncio.sleep(0)
        places, _ = await self._log.places([number(word)], self._indexed, MOST)
        return min(MOST, sum(place >= self._bottom for place in places) + self._tail[word])


async def _newest(log: Searched, word: str, upto: int = 0) -> int:
    before = upto
    await asyncio.sleep(0)  # decisions go first
    while True:  # a page may be empty and not the last, where the index is far behind
        page = await search(log, [word], before=before, limit=1)
        if page.entries:
            return int(json.loads(page.entries[0][1])["at"])
        if not page.next:
            return 0
        before = page.next
