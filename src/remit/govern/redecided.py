"""How far a change has been carried through all open tasks."""

from __future__ import annotations

from remit.domain.redecision import Redecision
from remit.domain.task import Task
from remit.ports import Env


async def left(env: Env, change: Redecision) -> int:
    """How many open tasks there still are, at most, to decide again after this change; it stops at 100,000."""
    found = 0
    for column, value in change.places[change.place :]:
        where = {"state": "open", column: value}
        found += sum((await env.store.tally(Task, where, "state", limit=100_000)).values())
    return found
