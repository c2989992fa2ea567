"""The JSON shapes of who answers for what."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from remit.domain.review import Review
from remit.domain.succession import Succession, SuccessionState

from .shapes import Strict
from .shapes_approvals import SignedRequest


class AcceptRequest(Strict, frozen=True):
    """The digest of what was shown."""

    digest: str


def succession(row: Succession, now: int) -> dict[str, Any]:
    """What nobody answers for; `left_ms` is how long until it stops, 0 when nothing is to stop."""
    words = {"reach": row.reach.value, "missing": row.missing.value, "state": row.state.value}
    left = max(0, row.until - now) if row.state is SuccessionState.OPEN else 0
    return {**{k: v for k, v in asdict(row).items() if k not in ("version", "every")}, **words, "left_ms": left}


class OpenReviewsRequest(Strict, frozen=True):
    """Which agents; `campaign` is a name for all of them together."""

    agents: tuple[str, ...] = ()
    all: bool = False
    campaign: str = ""


class ReviewAnswerRequest(Strict, frozen=True):
    """`digest` and `upto` as they were shown; `answer` is keep, narrow or retire."""

    digest: str
    upto: int
    answer: str
    note: str = ""
    signed: SignedRequest | None = None


def review(row: Review, now: int) -> dict[str, Any]:
    """A review, without what was shown."""
    left = ("version", "covers", "state")
    said = {name: value for name, value in asdict(row).items() if name not in left}
    return {**said, "state": row.state.value, "waits": row.waits, "overdue": row.waits and now >= row.due_at}
