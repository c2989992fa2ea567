"""Where others look up whether a token still stands: one index of one list (draft-ietf-oauth-status-list).

An index is drawn at random, and its row is written with the change that explains the token, provided there is none yet:
so none is ever used twice, by however many replicas, and none says which token came before which. Every `WINDOW` begins
a new list. The row says whose the index is and never whether that stands: it is read from the task and the lease.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

SIZE = 2**20
WINDOW = 300_000  # ms
KEPT = 8 * 86_400_000 // WINDOW  # lists back from now: longer than any credential lives


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """Row: the token of `lease`, or one that `path` carries on from it; over at `expires_at` in any case (ms)."""

    list: int
    index: int
    lease: str
    issued_at: int
    expires_at: int
    path: tuple[str, ...] = ()
    version: int = 0

    @property
    def key(self) -> str:
        """`list/index`, which the token names."""
        return f"{self.list}/{self.index}"

    @classmethod
    def drawn(cls, random: str, now: int, lease: str, expires_at: int, path: tuple[str, ...] = ()) -> StatusEntry:
        """At an index that nobody can foresee who does not know `random`."""
        index = int.from_bytes(sha256(random.encode()).digest()[:8], "big") % SIZE
        return cls(now // WINDOW, index, lease, now, expires_at, path)
