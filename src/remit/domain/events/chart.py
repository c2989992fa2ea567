"""What is known of the estate besides the catalogue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChartImported:
    """What an export says about who can reach what is asked from now on, under this name; `digest` is of its steps."""

    name: str
    digest: str
    nodes: int
    steps: int


@dataclass(frozen=True, slots=True)
class ChartRemoved:
    """It is not asked any more, and its steps are gone."""

    name: str
    digest: str
