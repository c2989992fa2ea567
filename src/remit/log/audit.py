"""What an outside auditor checks, needing only the entries and checkpoints it was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .merkle import leaf_hash, root_of


@dataclass(frozen=True, slots=True)
class Head:
    """A tree head some checkpoint signed."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok`, or the first thing that is wrong in words."""

    ok: bool
    size: int
    problem: str = ""


def audit(entries: Sequence[bytes], head: Head, older: Sequence[Head] = ()) -> Finding:
    """Recompute every root from the entries themselves.

    An edited, dropped, reordered or truncated log cannot match `head`; a rewritten one, even when signed
    again, cannot match an `older` head that somebody kept.
    """
    hashes = [leaf_hash(entry) for entry in entries]
    if len(hashes) < head.size:
        return Finding(False, len(hashes), f"the log is cut short: {head.size} events signed, {len(hashes)} present")
    if root_of(hashes[: head.size]) != head.root:
        return Finding(False, head.size, "an event was edited, dropped, added or moved: the root does not match")
    for old in older:
        if old.size > head.size:
            return Finding(False, head.size, f"rolled back: an older checkpoint covers {old.size} events")
        if root_of(hashes[: old.size]) != old.root:
            return Finding(False, old.size, f"rewritten: the first {old.size} events are not those signed before")
    return Finding(True, head.size)
