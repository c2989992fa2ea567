"""The credentials of one run: each asked for at most once while it is fresh, and kept nowhere but in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..answers import Secret
from ..errors import RemitError
from ..shapes import Issued

_EARLY = 60.0  # renewed this many seconds, or a fifth of its life, before its end
_SULK = 1.0  # seconds for which an answer, a refusal too, is repeated without asking again, whatever it says


@dataclass
class _Kept:
    issued: Issued | None = field(default=None, repr=False)
    until: float = 0.0  # monotonic seconds
    refusal: RemitError | None = None


class Vault:
    """`issue(name)` asks Remit. Safe to use from many threads; one asks, the others get the same answer.

    `deadline` is the task's, in ms: what lives until then has nothing to be renewed to.
    """

    def __init__(self, issue: Callable[[str], Secret], deadline: int) -> None:
        self._issue = issue
        self._deadline = deadline
        self._kept: dict[str, _Kept] = {}
        self._turn = threading.Lock()
        self._closed = False

    def __repr__(self) -> str:
        return f"<vault: {', '.join(self._kept)}>"

    def get(self, name: str) -> Issued:
        """The credential, issued now if there is no fresh one; raises what Remit answered."""
        with self._turn:
            self._needs_open()
            kept = self._kept.setdefault(name, _Kept())
            if time.monotonic() < kept.until:
                if kept.refusal is not None:
                    raise kept.refusal
                if kept.issued is not None:
                    return kept.issued
            try:
                secret = self._issue(name)
            except RemitError as refusal:
                kept.issued, kept.refusal, kept.until = None, refusal, time.monotonic() + _SULK
                raise
            self._needs_open()  # what was issued for a task that is over dies with it, unseen
            kept.refusal = None
            kept.issued = Issued(name, secret.kind, dict(secret), secret.expires_at)
            early = min(_EARLY, secret.lasts / 5) if secret.expires_at < self._deadline else 0.0
            kept.until = time.monotonic() + max(_SULK, secret.lasts - early)
            return kept.issued

    def _needs_open(self) -> None:
        if self._closed:
            raise RemitError("The task is over.", next_step="Start the command again with `remit run`.")

    def stale_in(self, name: str) -> float:
        """Seconds until the next `get` asks again."""
        kept = self._kept.get(name)
        return max(0.0, kept.until - time.monotonic()) if kept else 0.0

    def close(self) -> None:
        """Forget them all; nothing is handed out after this, not even what is being issued now."""
        self._closed = True
        self._kept = {}
