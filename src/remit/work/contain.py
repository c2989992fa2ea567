"""Contain: go on with what was contained until nothing of it lives, and nobody is asked about it any more."""

from __future__ import annotations

from remit.domain import events
from remit.domain.approval import Approval, ApprovalState
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.finding import Finding
from remit.domain.leak import Leak, LeakKind
from remit.domain.lease import Lease, LeaseState
from remit.domain.secret import SealedSecret, SecretState, key_of
from remit.ports import Env

from .end_tasks import mark
from .kill_leases import attempt
from .tend_approvals import expire

SYSTEM = Caller(CallerKind.SYSTEM, "contain")


async def tend_findings(env: Env, now: int) -> int:
    """Take what is due one step further; returns how many moved."""
    call = Call(SYSTEM, now)
    return sum([await _one(env, call, row) for row in await env.store.due(Finding, now, limit=1000)])


async def _one(env: Env, call: Call, row: Finding) -> int:
    leak = Leak.parse(row.leak)
    living = await _living(env, leak)
    held = [lease for lease in living if lease.state in (LeaseState.RESERVED, LeaseState.LIVE)]
    moved = sum([await mark(env, call, lease, f"{row.id} was contained") is not None for lease in held])
    if moved:
        env.nudge()
    approval = await env.store.get(Approval, row.approval) if row.approval else None
    if approval is not None and approval.usable_at(call.now):
        return moved + await _retire(env, call, row, leak, approval)
    waits = approval is not None and approval.state is ApprovalState.PENDING
    if living or waits or await _retiring(env, leak):
        return moved
    how = approval.state.value if approval is not None else ""
    took = env.clock() - row.contained_at
    because = events.FindingContainmentReached(row.id, row.leak, took, how)
    return moved + await attempt(env, Change(because, call).put(row.reached(env.clock()), was=row))


async def _living(env: Env, leak: Leak) -> list[Lease]:
    """Credentials of it that are not confirmed dead."""
    if leak.kind is LeakKind.LEASE:
        lease = await env.store.get(Lease, leak.name)
        return [lease] if lease is not None and lease.state is not LeaseState.ENDED else []
    found: list[Lease] = []
    for state in (LeaseState.RESERVED, LeaseState.LIVE, LeaseState.ENDING):
        if leak.kind is LeakKind.SECRET:
            found += await env.store.find(Lease, {"holds": leak.name, "state": state.value}, limit=1000)
    return found


async def _retiring(env: Env, leak: Leak) -> bool:
    row = await env.store.get(SealedSecret, key_of(leak.name)) if leak.kind is LeakKind.SECRET else None
    return row is not None and row.state is SecretState.RETIRING


async def _retire(env: Env, call: Call, row: Finding, leak: Leak, approval: Approval) -> int:
    """What somebody agreed to, once: `tend_secrets` destroys the envelope when no lease holds it."""
    version = await env.store.get(SealedSecret, key_of(leak.name))
    if version is None or version.state is not SecretState.ACTIVE:  # retired by hand meanwhile
        await expire(env, call, approval)
        return 1
    why = f"{row.id} was contained"
    change = Change(events.SecretRetiring(version.name, version.number, why), call)
    change = change.put(version.retiring(call.now, why), was=version).put(approval.used(call.now), was=approval)
    return int(await attempt(env, change.check(row)))
