"""Testify: a report about the log is given to somebody. Its digest is in the log before it leaves (law 4), so nobody
can alter it afterwards, and everybody sees which reports there are.
"""

from __future__ import annotations

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.ports import Env


async def testify(env: Env, call: Call, report: str, frameworks: tuple[str, ...], start: int, size: int) -> None:
    """Say that this report leaves. `report` is its digest."""
    await env.store.commit(Change(events.EvidenceReported(report, frameworks, start, size), call))
