"""Sweep orphans: after a restore, what an issuer lists under our names gets a lease if it has none, and dies (law 5).

It looks until nothing that was on its way at the restore can still land, so each issuer is asked once more after that.
One that does not answer is asked again by the next pass, and until then nothing may act; taking it out of the catalogue
leaves what it minted to its own end. Two estates that share one admin account at a server would kill each other's.
"""

from __future__ import annotations

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.catalogue import IssuerConfig
from remit.domain.change import Change
from remit.domain.lease import LeaseState
from remit.domain.restore import IN_FLIGHT, Restored, orphan, unexplained
from remit.ports import Env, Lists

from .kill_leases import attempt

SYSTEM = Caller(CallerKind.SYSTEM, "sweep-orphans")


async def sweep_orphans(env: Env, now: int) -> bool:
    """One look at every issuer, if a restore is not finished; whether anything moved."""
    row = await env.store.get(Restored, "restored")
    if row is None or row.swept_at or not row.voided_at:
        return False
    call = Call(SYSTEM, now)
    _, force = await env.in_force()
    listed, unlisted, moved = [], [], 0
    for config in force.catalogue.issuers.values():
        issuer: object = env.issuer(config)
        if isinstance(issuer, Lists):
            listed.append(config.name)
            moved += await _adopt(env, call, config, issuer)
        else:
            unlisted.append(config.name)
    if now < row.since + IN_FLIGHT:
        return bool(moved)
    row = await env.store.get(Restored, "restored") or row
    because = events.RestoreSwept(tuple(listed), tuple(unlisted), row.orphans)
    return await attempt(env, Change(because, call).put(row.swept(now), was=row))


async def _adopt(env: Env, call: Call, config: IssuerConfig, issuer: Lists) -> int:
    """The listing first: a lease that is there afterwards explains what was listed before."""
    found = await issuer.listed()
    if not found:
        return 0
    names = []
    for state in (LeaseState.RESERVED, LeaseState.LIVE, LeaseState.ENDING):
        names += [issuer.name(lease) for lease in await env.leases_in(state) if lease.issuer == config.name]
    adopted = 0
    for name in unexplained(found, names):
        row = await env.store.get(Restored, "restored")
        lease = orphan(env.new_id("lse"), config.name, name, call.now)
        because = events.OrphanFound(lease.id, config.name, name)
        change = Change(because, call).put(lease, was=None)
        if row is not None and await attempt(env, change.put(row.found(), was=row)):
            adopted += 1
    if adopted:
        env.nudge()
    return adopted
