"""What was reported of the log itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EvidenceReported:
    """Somebody was given a report of this digest (RFC 8785 JSON) about the first `size` events, on these frameworks.

    Its counts are of the events from `start` on.
    """

    report: str
    frameworks: tuple[str, ...]
    start: int
    size: int
