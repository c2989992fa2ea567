"""What people want of where the log goes, and what witnesses say of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutTurned:
    """A sink is sent to, or not for now."""

    sink: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class OutRewound:
    """A sink is sent everything from this place of the log on, again if it had it."""

    sink: str
    place: int
    reason: str


@dataclass(frozen=True, slots=True)
class WitnessRefused:
    """A witness says that the log, at this size, does not go on from what it has cosigned."""

    witness: str
    size: int
    why: str
