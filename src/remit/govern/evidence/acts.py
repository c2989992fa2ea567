"""What mechanisms did, by the log: how often in a stretch of it, and the newest events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from remit.formats.log_words import number, words
from remit.ports import LogIndex, LogReader

TAIL = 20_000  # events that the index has not reached and that are read all the same
NEWEST = 3  # events of each word that a report carries
PAGE = 1000


class Counted(LogReader, LogIndex, Protocol):
    """What counting needs of a store."""


class _At(msgspec.Struct):
    at: int


_at = msgspec.json.Decoder(_At).decode


@dataclass(frozen=True, slots=True)
class Acts:
    """`count` events of a word from `start` up to `end`. `newest` are the places of the newest ones below `end`, the
    last first; they may be older than `start`.
    """

    count: int
    newest: tuple[int, ...]


def made_at(leaf: bytes) -> int:
    """When an event was made (ms)."""
    return _at(leaf).at


def has(word: str, leaf: bytes) -> bool:
    """Whether an event counts for this word: the empty one is in all of them."""
    return not word or word in words(leaf)


async def stretch(log: Counted, since: int) -> tuple[int, int]:
    """The places that are counted: from the first event made at `since` (ms; 0: all) or later up to where counting can
    go. That is the end of the log, unless the index is being made and has far to go.
    """
    size, _ = await log.head()
    indexed = await log.indexed()
    end = size if size - indexed <= TAIL else indexed
    low, high = 0, end
    while since and low < high:
        middle = (low + high) // 2
        older = made_at((await log.entries(middle, middle + 1))[0]) < since
        low, high = (middle + 1, high) if older else (low, middle)
    return low, end


async def acts(log: Counted, wanted: Sequence[str], start: int, end: int) -> dict[str, Acts]:
    """Of every word. What the index has is counted there; the few newest events that it has not are read."""
    indexed = min(await log.indexed(), end)
    count = dict.fromkeys(wanted, 0)
    newest: dict[str, list[int]] = {word: [] for word in wanted}
    high = end
    while high > indexed:
        low = max(indexed, high - PAGE)
        page = await log.entries(low, high)
        for place in range(high - 1, low - 1, -1):
            found = words(page[place - low])
            for word in wanted:
                if not word or word in found:
                    count[word] += place >= start
                    newest[word].append(place)
        high = low
        await asyncio.sleep(0)
    for word in wanted:
        await asyncio.sleep(0)  # decisions go first
        lacking = NEWEST - len(newest[word])
        if not word:
            count[word] += max(0, indexed - start)
            newest[word] += range(indexed - 1, max(-1, indexed - 1 - lacking), -1)
            continue
        count[word] += await log.count(number(word), start, indexed)
        if lacking > 0:
            newest[word] += (await log.places([number(word)], indexed, lacking))[0]
    return {word: Acts(count[word], tuple(newest[word][:NEWEST])) for word in wanted}
