"""What open tasks were permitted in, and how far they were decided again when it changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TasksRedecided:
    """After this change so many more open tasks that it concerns were looked at, and so many of them ended."""

    redecision: str
    cause: str
    looked_at: int
    ended: int


@dataclass(frozen=True, slots=True)
class RedecisionReached:
    """Every open task that this change concerns was decided again, so many ms after it."""

    redecision: str
    cause: str
    looked_at: int
    ended: int
    took: int


@dataclass(frozen=True, slots=True)
class PersonLeft:
    """They are here no more; `estate`: what they answer for was frozen with it."""

    person: str
    reason: str
    estate: bool


@dataclass(frozen=True, slots=True)
class PersonReturned:
    """They are here again."""

    person: str


@dataclass(frozen=True, slots=True)
class FindingReported:
    """Something was found out about `name`; `evidence` is a keyed digest. `stopped`: what it is about stopped."""

    finding: str
    severity: str
    subject: str
    name: str
    title: str
    evidence: str
    stopped: bool


@dataclass(frozen=True, slots=True)
class ScanTaken:
    """A scan reported this many secrets that it found; what they are is not known yet, and not said."""

    report: str
    seen: int


@dataclass(frozen=True, slots=True)
class ScanMatched:
    """What a scan reported was compared with what is minted and sealed here; the rest was forgotten."""

    report: str
    known: int


@dataclass(frozen=True, slots=True)
class FindingContained:
    """What leaked is taken out of use. `ends` is all that stopped in this very commit; `approval` is what the rest
    waits for, or empty. `task` and `home` as `TaskEnded` has them, where a task is among it.
    """

    finding: str
    leak: str
    reason: str
    ends: tuple[str, ...]
    approval: str = ""
    task: str = ""
    home: str = ""


@dataclass(frozen=True, slots=True)
class FindingContainmentReached:
    """Nothing of what leaked lives, so many ms after it was contained; `how` the person who was asked has answered."""

    finding: str
    leak: str
    took: int
    how: str = ""


@dataclass(frozen=True, slots=True)
class FindingResolved:
    """It counts no more, and stops nothing any more."""

    finding: str
    subject: str
    name: str
    note: str


@dataclass(frozen=True, slots=True)
class PostureAssessed:
    """So much is known of an agent's surroundings, until then (ms)."""

    agent: str
    facts: tuple[str, ...]
    until: int


@dataclass(frozen=True, slots=True)
class PostureLapsed:
    """The time of these facts is over, and nobody has said them again."""

    agent: str
    facts: tuple[str, ...]
