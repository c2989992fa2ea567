"""Find events of the log by the words in them, the newest first, however long the log is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from remit.formats.log_words import number, words
from remit.ports import LogIndex, LogReader

TAIL = 20_000
PAGE = 1000


class Searched(LogReader, LogIndex, Protocol):
    """What a search needs of a store."""


@dataclass(frozen=True, slots=True)
class Found:
    """(place in the log, its bytes) of each event, the newest first. `next` goes on from there; 0: there is no more."""

    entries: tuple[tuple[int, bytes], ...]
    next: int


async def search(
    log: Searched, wanted: Sequence[str], *, before: int = 0, limit: int = 50, since: int = 0, until: int = 0
) -> Found:
    """Events that have all these words, at a place below `before`, made from `since` until `until` (ms; 0: any).

    A page may hold fewer than `limit`, or none, and still have a `next`: how much is looked at is bounded.
    """
    size, _ = await log.head()
    top = min(before or size, size)
    if until:
        top = min(top, await place_of(log, size, until))
    bottom = await place_of(log, size, since) if since else 0
    indexed = min(await log.indexed(), top)
    found: list[tuple[int, bytes]] = []
    end = top
    lowest = indexed if wanted else bottom  # without words, every place is one
    while end > max(lowest, bottom, top - TAIL) and len(found) < limit:
        start = max(lowest, bottom, end - PAGE)
        page = await log.entries(start, end)
        for place in range(end - 1, start - 1, -1):
            end = place
            if _has(page[place - start], wanted):
                found.append((place, page[place - start]))
                if len(found) == limit:
                    break
    if wanted and end <= indexed and end > bottom and len(found) < limit:
        places, end = await log.places([number(word) for word in wanted], end, limit - len(found))
        for place in places:
            if place < bottom:
                break
            leaf = (await log.entries(place, place + 1))[0]
            if _has(leaf, wanted):
                found.append((place, leaf))
    return Found(tuple(found), end if end > bottom else 0)


def shown(entry: tuple[int, bytes]) -> dict[str, Any]:
    """One event as JSON, with its place."""
    place, leaf = entry
    return {"index": place, **json.loads(leaf)}


def _has(leaf: bytes, wanted: Sequence[str]) -> bool:
    said = (word.rpartition(" ")[2] for word in wanted)  # a word of ours ends in one of the event's
    return all(_quoted(word) in leaf for word in said) and words(leaf).issuperset(wanted)


def _quoted(word: str) -> bytes:
    """As it stands in an event: letters are themselves there, control characters are not."""
    return json.dumps(word, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")


async def place_of(log: LogReader, size: int, instant: int) -> int:
    """The first place whose event is of `instant` or later; events stand in about the order of their time."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        leaf = (await log.entries(middle, middle + 1))[0]
        low, high = (middle + 1, high) if json.loads(leaf)["at"] < instant else (low, middle)
    return low
