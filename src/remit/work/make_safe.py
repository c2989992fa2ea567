"""Make safe: what a restored state would bring back to life is good no more, before any server starts on it.

Tasks end, with what hangs below them. What is used once (join tokens, sign-in links, consents, hand-overs) may have
been used since, and who proved themselves may have been superseded: all of it is void, and so are
bearer keys, one of which may have been ended since; a server makes its operator's anew when it starts. Every signing
key but the log's is replaced, so that nothing counts that was signed before. Each step may crash and is taken again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from remit.domain import events
from remit.domain.caller import AccessKey, Call
from remit.domain.change import Change
from remit.domain.consent import Consent
from remit.domain.errors import Conflict, StoreUnavailable
from remit.domain.identity import Identity, JoinToken
from remit.domain.keys import ROTATED
from remit.domain.restore import Restored
from remit.domain.secret import HandOver, HandOverState
from remit.domain.session import Session, SignInLink
from remit.domain.task import Task, TaskState
from remit.formats.tlog import parse_checkpoint
from remit.ports import Env, Reader
from remit.verbs.restore import REASON, declare
from remit.verbs.rotate import replace_now

from .check_store import head_of, log_keys
from .end_tasks import close, end_task
from .watermark import Watermark

PAGE = 200
# What to write in the place of a row that could act; None: it cannot.
VOID: Mapping[type[Any], Callable[[Any, int], Any]] = {
    AccessKey: lambda row, now: row.ended(now) if now < row.expires_at else None,
    Identity: lambda row, now: row.superseded(now) if now < row.expires_at else None,
    JoinToken: lambda row, now: replace(row, used_at=now) if not row.used_at else None,
    SignInLink: lambda row, now: replace(row, used_at=now) if not row.used_at else None,
    Consent: lambda row, now: row.redeemed(now) if not row.redeemed_at else None,
    Session: lambda row, now: row.ended(now, REASON) if not row.ended_at else None,
    HandOver: lambda row, now: row.ended(HandOverState.WITHDRAWN, now) if row.state is HandOverState.WAITING else None,
}


async def restored_safely(store: Reader) -> None:
    """Raise `StoreUnavailable` if the store was put back to an earlier state and nobody has made that safe."""
    row = await store.get(Restored, "restored")
    if row is not None and not row.voided_at:
        step = "Run `remit backup restore` again, without a file."
        raise StoreUnavailable("This database was restored, and that was not finished.", next_step=step)


async def declared(store: Any, call: Call, watermark: Watermark, log_name: str, known: str) -> Restored:
    """Say that it was put back. What was known before is in `known` (a signed note), or what this host remembers."""
    at = await head_of(store, log_name)
    note = parse_checkpoint(known, await log_keys(store, log_name), origin=log_name) if known else None
    return await declare(store, call, at, note or await watermark.seen(store))


async def make_safe(env: Env, call: Call) -> dict[str, int]:
    """Go on until nothing is left that could act; returns how many of each kind that were."""
    row = await env.store.get(Restored, "restored")
    if row is None or row.voided_at:
        return {}
    gone = {"tasks": await _end_all(env, call)}
    for kind in VOID:
        gone[kind.__name__] = await _void(env, call, kind)
    for use in ROTATED:
        if use != "log":
            await replace_now(env, call, use, REASON)
    done = Change(events.RestoreSafe(gone["tasks"]), call).put(row.voided(call.now), was=row)
    await env.store.commit(done)
    return gone


async def _end_all(env: Env, call: Call) -> int:
    """End every open task, and close what each leaves open."""
    ended = 0
    while tasks := await env.store.find(Task, {"state": TaskState.OPEN.value}, limit=1000):
        moved = [await end_task(env, call, task, TaskState.REVOKED, REASON) for task in tasks]
        moved += [await close(env, call, task.id) for task in tasks]
        if not any(moved):
            raise StoreUnavailable("Tasks keep changing.", next_step="Stop every server of this database first.")
        ended += sum(moved)
    return ended


async def _void(env: Env, call: Call, kind: type[Any]) -> int:
    gone, after = 0, ""
    while rows := await env.store.find(kind, {}, after=after, limit=PAGE):
        pairs = [(row, VOID[kind](row, call.now)) for row in rows]
        pairs = [(row, void) for row, void in pairs if void is not None]
        change = Change(events.RestoredVoided(kind.__name__, len(pairs)), call)
        for row, void in pairs:
            change = change.put(void, was=row)
        if pairs:
            try:
                await env.store.commit(change)
            except Conflict as moved:
                step = "Stop every server of this database first."
                raise StoreUnavailable("What is to be void keeps changing.", next_step=step) from moved
        gone, after = gone + len(pairs), rows[-1].key
    return gone
