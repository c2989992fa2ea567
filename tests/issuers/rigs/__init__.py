"""One rig a kind of issuer, in a module named for the kind; `tests/issuers/test_issuer_conformance.py` runs them all.

A rig module has `async def rig(request) -> Rig` (which calls `needs` when its server may not be installed),
`SETTINGS` (the least that builds one), `BAD_GRANTS` and `BAD_SETTINGS` (settings, words of the refusal), and
`BACKSTOP`: a life in seconds after which the server itself refuses, with nobody killing; 0 when it has no such clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from remit.domain.lease import Lease, Minted


@dataclass
class Rig:
    """An issuer over a real server, a lease for it, and how to ask the server itself.

    `alive` (blocking) uses what was minted, as its holder would; None when there is nothing to ask. `unreachable` is
    the same issuer whose server is not there; None when it asks nobody. `recallable` False: `kill` raises
    `NotRecallable` until the end. `introspected`: who only reads it, as `alive` does, still accepts it after the kill.
    """

    issuer: Any
    lease: Lease
    alive: Callable[[Minted], bool] | None = None
    recallable: bool = True
    introspected: bool = False
    unreachable: Any = None
    close: Callable[[], None] = lambda: None


def lease(handle="remit_a1", grants=None, seconds=60.0, task="tsk_1", window=30.0, parameters=None):
    """Reserved now, to be minted within `window` seconds."""
    now = int(time.time() * 1000)
    expires = now + int(seconds * 1000)
    window_ends = now + int(window * 1000)
    return Lease("lse_1", task, "bot", "db", "pg", handle, now, window_ends, expires, grants or {}, parameters or {})


def needs(found: object, how: str) -> None:
    """Skip with the command that installs what is missing; in CI nothing skips."""
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail(how)
        pytest.skip(how)


class Unreachable:
    """An issuer whose kills ask nobody: only its mint can fail."""

    def __init__(self, issuer):
        self.mint = issuer.mint
        self.kill = issuer.mint
