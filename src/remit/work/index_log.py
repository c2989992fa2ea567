"""Index: the words of every event that has its place in the log, so that it is found without reading all of it.

It follows the log at its own pace, in small steps, and nothing waits for it: what it has not reached is read instead.
"""

from __future__ import annotations

from typing import Protocol

from remit.domain.errors import Conflict
from remit.formats.log_words import number, words
from remit.ports import LogIndex, LogReader

BATCH = 64


class Indexed(LogReader, LogIndex, Protocol):
    """What the indexer needs of a store."""


async def index_log(log: Indexed) -> int:
    """Take the next events in; returns how many (0: nothing to do, or another replica did it)."""
    size, _ = await log.head()
    first = await log.indexed()
    leaves = await log.entries(first, min(size, first + BATCH))
    if not leaves:
        return 0
    try:
        await log.index(first, [sorted(map(number, words(leaf))) for leaf in leaves])
    except Conflict:
        return 0
    return len(leaves)
