"""What is in force."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CatalogueApplied:
    """A new revision of the catalogue is in force."""

    digest: str
    previous: str
    summary: tuple[str, ...]
