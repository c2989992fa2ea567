"""The JSON shapes of who answers for what."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from remit.domain.succession import Succession, SuccessionState

from .shapes import Strict


class AcceptRequest(Strict, frozen=True):
    """The digest of what was shown."""

    digest: str


def succession(row: Succession, now: int) -> dict[str, Any]:
    """What nobody answers for; `left_ms` is how long until it stops, 0 when nothing is to stop."""
    words = {"reach": row.reach.value, "missing": row.missing.value, "state": row.state.value}
    left = max(0, row.until - now) if row.state is SuccessionState.OPEN else 0
    return {**{k: v for k, v in asdict(row).items() if k not in ("version", "every")}, **words, "left_ms": left}
