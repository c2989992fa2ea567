"""Replay: every row must be what the events say, and every event must say what it wrote (law 9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from remit.formats.record import KINDS, Kind, unpack

_WITHHELD = frozenset(kind.row.__name__ for kind in KINDS if kind.withheld)

_PAGE = 1000


class Replayable(Protocol):
    """What a replay reads of a store."""

    async def history(self, after: int, limit: int) -> Sequence[tuple[int, bytes, bytes]]: ...

    async def bodies(self, kind: Kind) -> Mapping[str, bytes]: ...


async def replay(store: Replayable) -> list[str]:
    """Rebuild every table from the events alone and compare; returns what does not agree, in words.

    Of rows that hold envelopes events have the digest only: a changed one is found, a lost one is not brought back.
    """
    rebuilt: dict[str, dict[str, str]] = defaultdict(dict)  # also of kinds that there are no more
    versions: dict[tuple[str, str], int] = {}
    problems: list[str] = []
    after = 0
    while events := await store.history(after, _PAGE):
        for number, leaf, packed in events:
            problems += _apply(number, msgspec.json.decode(leaf), packed, rebuilt, versions)
        after = events[-1][0]
    for kind in KINDS:
        name, stored = kind.row.__name__, await store.bodies(kind)
        for key in sorted(stored.keys() | rebuilt[name].keys()):
            if key not in stored or sha256(stored[key]).hexdigest() != rebuilt[name].get(key):
                state = (
                    "is missing"
                    if key not in stored
                    else "is explained by no event"
                    if key not in rebuilt[name]
                    else "was changed"
                )
                problems.append(f"{name} {key} {state}")
    return problems


def _apply(
    number: int,
    leaf: Mapping[str, Any],
    packed: bytes,
    rebuilt: dict[str, dict[str, str]],
    versions: dict[tuple[str, str], int],
) -> list[str]:
    writes, bodies = leaf["writes"], unpack(packed)
    if len(writes) != len(bodies):
        return [f"event {number} lists {len(writes)} writes and carries {len(bodies)}"]
    problems: list[str] = []
    for (name, key, version, digest), body in zip(writes, bodies, strict=True):
        if sha256(body).hexdigest() != digest and (body or name not in _WITHHELD):
            problems.append(f"event {number}: the body of {name} {key} is not the one it signed for")
        if version != versions.get((name, key), 0) + 1:
            problems.append(f"event {number}: {name} {key} jumps to version {version}; an event before it is missing")
        versions[(name, key)] = version
        rebuilt[name][key] = digest
    return problems
