"""The JSON shapes of what open tasks are permitted in, and of what a change of it ends."""

from __future__ import annotations

from typing import Any

from remit.domain.redecision import Redecision
from remit.verbs.apply import Ends


def ends(found: Ends) -> dict[str, Any]:
    """What becomes of open tasks."""
    some = [{"task": task, "reason": reason} for task, reason in found.some]
    return {"count": found.count, "looked_at": found.looked_at, "more": found.more, "tasks": some}


def redecision(row: Redecision, now: int) -> dict[str, Any]:
    """A change, and how far the open tasks that it concerns have been decided again; `ms` since it, or until then."""
    names = ("id", "cause", "since", "seen", "ended", "reached_at")
    return {**{name: getattr(row, name) for name in names}, "ms": (row.reached_at or now) - row.since}
