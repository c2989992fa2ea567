"""What is in force."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CatalogueApplied:
    """A new revision of the catalogue is in force."""

    digest: str
    previous: str
    summary: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RolloutSet:
    """At `share` % of the edges this revision is in force; everywhere else still `previous` is."""

    digest: str
    previous: str
    share: int
    summary: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RolloutTakenBack:
    """What was rolled out is in force nowhere any more, but `restored` is everywhere."""

    digest: str
    restored: str
    reason: str
