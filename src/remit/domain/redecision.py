"""Something that open tasks were permitted in has changed: where those are that it concerns, and how far they have been
decided again.

Written in the commit of the change itself, so no crash comes between the two. What it does not concern is never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from .catalogue import Catalogue, changed_fields
from .decision import Reason, Why
from .task import Task

Place: TypeAlias = tuple[str, str]  # an indexed column of tasks, and the value in it
EVERYWHERE: Place = ("state", "open")


@dataclass(frozen=True, slots=True)
class Redecision:
    """Row. `cause` says what changed; `details` more exactly, by what it happened to (`purpose pay`).

    `place` is which of `places` is looked at and `after` the last task there that was; `seen` and `ended` count what
    the passes that wrote this have looked at and ended. `reached_at` is when the last had been; 0 until then (ms).
    """

    id: str
    cause: str
    since: int
    places: tuple[Place, ...]
    details: Mapping[str, str]
    place: int = 0
    after: str = ""
    seen: int = 0
    ended: int = 0
    reached_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.id

    @property
    def due(self) -> int:
        """At once, until it has reached everything."""
        return 0 if self.reached_at else self.since

    def reason(self, task: Task, why: tuple[Why, ...]) -> str:
        """What exactly changed, for a task that it ends; at most 500 characters."""
        return told(self.cause, self.details, task, why)

    def went_on(self, after: str, seen: int, ended: int, now: int) -> Redecision:
        """After one more page, which ended at this task; empty: there was no more of this place."""
        place = self.place if after else self.place + 1
        done = now if place >= len(self.places) else 0
        return replace(self, place=place, after=after, seen=self.seen + seen, ended=self.ended + ended, reached_at=done)


def concerned(old: Catalogue, new: Catalogue) -> tuple[Place, ...]:
    """Where the open tasks are whose beginning might be judged otherwise.

    A tool is judged at each call, under the entry in force then; it begins nothing.
    """
    if old.policies != new.policies:
        return (EVERYWHERE,)
    return (
        *(("agent", name) for name in _differing(old.agents, new.agents)),
        *(("purpose", name) for name in _differing(old.purposes, new.purposes)),
        *(("initiator", f"person:{name}") for name in _differing(old.people, new.people)),
    )


def told(cause: str, details: Mapping[str, str], task: Task, why: tuple[Why, ...]) -> str:
    """`catalogue 12: Purpose pay changed from revision a to b: grants.`"""
    said = []
    for one in why:
        detail = details.get(f"purpose {task.purpose}", "") if one.reason is Reason.PURPOSE_SUPERSEDED else ""
        sentence = f"Purpose {task.purpose} {detail}." if detail else one.sentence
        said.append(f"{sentence} (policy {one.policy})" if one.policy else sentence)
    return f"{cause}: {' '.join(said)}".removeprefix(": ")[:500]


def details(old: Catalogue, new: Catalogue) -> Mapping[str, str]:
    """What became of each purpose: `changed from revision a to b: grants, max_calls`."""
    found: dict[str, str] = {}
    for name, before in old.purposes.items():
        after = new.purposes.get(name)
        if after is not None and after != before:
            what = ", ".join(changed_fields(before, after))
            found[f"purpose {name}"] = f"changed from revision {before.revision} to {after.revision}: {what}"
    return found


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in old if old[name] != new.get(name))
