"""The JSON shapes of what open tasks are permitted in, and of what a change of it ends."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from remit.domain.departure import Departure
from remit.domain.finding import Finding
from remit.domain.posture import Posture
from remit.domain.redecision import Redecision
from remit.verbs.apply import Ends

from .shapes import Strict


class PostureRequest(Strict, frozen=True):
    """What is known, and for how long (ms)."""

    facts: dict[str, str]
    ttl_ms: int


class LeaveRequest(Strict, frozen=True):
    """Why they left; `freeze`: what they answer for is frozen with it."""

    reason: str
    freeze: bool = False


class FindingRequest(Strict, frozen=True):
    """`subject` is `agent`, `tool`, `secret` or `task`. `evidence` is digested under a key, and kept nowhere."""

    severity: str
    subject: str
    name: str
    title: str
    evidence: str = ""


class NoteRequest(Strict, frozen=True):
    """How it was resolved."""

    note: str


class SeenRequest(Strict, frozen=True):
    """One secret: its digest under the scan key, which rule found it, where, and `live`: `yes`, `no` or `unknown`."""

    digest: str
    rule: str
    place: str
    live: str = "unknown"


class ScanRequest(Strict, frozen=True):
    """What a scan found."""

    seen: tuple[SeenRequest, ...]


class ContainRequest(Strict, frozen=True):
    """Why, and whether the agent whose credential it was is frozen too."""

    reason: str
    agent: bool = False


def ends(found: Ends) -> dict[str, Any]:
    """What becomes of open tasks."""
    some = [{"task": task, "reason": reason} for task, reason in found.some]
    return {"count": found.count, "looked_at": found.looked_at, "more": found.more, "tasks": some}


def redecision(row: Redecision, now: int) -> dict[str, Any]:
    """A change, and how far the open tasks that it concerns have been decided again; `ms` since it, or until then."""
    names = ("id", "cause", "since", "seen", "ended", "reached_at")
    return {**{name: getattr(row, name) for name in names}, "ms": (row.reached_at or now) - row.since}


def posture(row: Posture, now: int) -> dict[str, Any]:
    """What is known now, by whom, until when."""
    return {"agent": row.agent, "facts": [asdict(fact) for fact in row.facts if now < fact.until]}


def departure(row: Departure) -> dict[str, Any]:
    """Somebody who left."""
    return {name: value for name, value in asdict(row).items() if name != "version"}


def finding(row: Finding) -> dict[str, Any]:
    """What was found out."""
    words = {"severity": row.severity.word, "subject": row.subject.value, "state": row.state.value}
    return {**{name: value for name, value in asdict(row).items() if name != "version"}, **words}
