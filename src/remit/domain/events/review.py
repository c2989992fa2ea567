"""Reviews of agents: opened, answered, and what nobody answering did."""

from __future__ import annotations

from dataclasses import dataclass

from remit.domain.passkey import UNSIGNED, Signed


@dataclass(frozen=True, slots=True)
class ReviewOpened:
    """What this agent may do is to be looked at by `due_at`; without an answer it is narrowed, then frozen."""

    agent: str
    round: int
    campaign: str
    due_at: int
    narrow_at: int
    freeze_at: int


@dataclass(frozen=True, slots=True)
class ReviewAnswered:
    """`person` says what becomes of it, to exactly what has this digest. `without` is what it lost (`pay tool:list`);
    `note` is a digest, and `signed` proves it, unless it is empty.
    """

    agent: str
    round: int
    person: str
    verdict: str
    digest: str
    without: tuple[str, ...]
    note: str = ""
    signed: Signed = UNSIGNED


@dataclass(frozen=True, slots=True)
class ReviewOverdue:
    """Nobody answered in time, so it is `narrowed` or `frozen`."""

    agent: str
    round: int
    did: str
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NarrowingOver:
    """What it lost the catalogue does not grant any more, so nothing is taken away."""

    agent: str
