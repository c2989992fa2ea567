"""Tend secrets: what has expired goes, what was retired ends the leases that hold it, and who is late is reminded."""

from __future__ import annotations

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Conflict
from remit.domain.lease import Lease, LeaseState
from remit.domain.secret import HandOver, HandOverState, SealedSecret, SecretState
from remit.ports import Env

SYSTEM = Caller(CallerKind.SYSTEM, "tend-secrets")


async def tend_secrets(env: Env, now: int) -> int:
    """Move everything that is due at `now` one step; returns how many moved."""
    call, moved = Call(SYSTEM, now), 0
    for hand_over in await env.store.due(HandOver, now):
        ended = hand_over.ended(HandOverState.EXPIRED, now)
        because = events.HandOverEnded(hand_over.id, hand_over.sender, hand_over.recipient, ended.state.value)
        moved += await _try(env, Change(because, call).put(ended, was=hand_over))
    for row in await env.store.due(SealedSecret, now, limit=1000):
        if row.state is SecretState.RETIRING:
            moved += await _retire(env, call, row)
        elif not row.active_at(now):
            because_expired = events.SecretRetiring(row.name, row.number, "expired")
            moved += await _try(env, Change(because_expired, call).put(row.retiring(now, "expired"), was=row))
        else:
            overdue = events.SecretOverdue(row.name, row.number)
            moved += await _try(env, Change(overdue, call).put(row.reminded(now), was=row))
    return moved


async def _retire(env: Env, call: Call, row: SealedSecret) -> int:
    """End every lease that holds this version; the version is RETIRED when each of them has ended."""
    moved = 0
    for state in (LeaseState.RESERVED, LeaseState.LIVE):
        while leases := await env.store.find(Lease, {"holds": row.label, "state": state.value}):
            ended = [await _end(env, call, lease, row) for lease in leases]
            moved += sum(ended)
            if not any(ended):  # all of them moved by somebody else: the next pass looks again
                return moved
    if moved:
        env.nudge()
    if await env.store.find(Lease, {"holds": row.label, "state": LeaseState.ENDING.value}, limit=1):
        return moved
    because = events.SecretRetired(row.name, row.number)
    return moved + await _try(env, Change(because, call).put(row.retired(), was=row))


async def _end(env: Env, call: Call, lease: Lease, row: SealedSecret) -> int:
    reason = f"version {row.number} of {row.name} was retired"
    because = events.LeaseEnding(lease.id, lease.task, reason)
    return await _try(env, Change(because, call).put(lease.ending(call.now, reason), was=lease))


async def _try(env: Env, change: Change) -> int:
    """Somebody else moved it first: the next pass looks again."""
    try:
        await env.store.commit(change)
    except Conflict:
        return 0
    return 1
