"""What a task has read so far, as a label that only ever darkens.

A label is (least trust, greatest sensitivity, sources). `a | b` is a join: associative,
commutative, idempotent, and never lighter than either side, so within a task it cannot fall.
No data is kept here, only what kind of data was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | list[Json] | tuple[Json, ...] | Mapping[str, Json] | None"


class Sensitivity(IntEnum):
    """How much harm it does when the wrong party sees it; greater is worse."""

    PUBLIC = 0
    INTERNAL = 1
    CONFIDENTIAL = 2
    RESTRICTED = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Trust(IntEnum):
    """Who could have written what was read; less is worse."""

    UNTRUSTED = 0
    TRUSTED = 1

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Label:
    """The join of everything one task has read. `sources` are tool names, at most 32, then `…`."""

    trust: Trust = Trust.TRUSTED
    sensitivity: Sensitivity = Sensitivity.PUBLIC
    sources: tuple[str, ...] = ()

    def __or__(self, other: Label) -> Label:
        """Read both."""
        sources = tuple(sorted({*self.sources, *other.sources} - {"…"}))
        clipped = len(sources) > 32 or "…" in (*self.sources, *other.sources)
        return Label(
            min(self.trust, other.trust),
            max(self.sensitivity, other.sensitivity),
            (*sources[:32], "…") if clipped else sources,
        )
