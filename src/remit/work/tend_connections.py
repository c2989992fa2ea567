"""Tend connections: of one that is ending, every lease ends first, then its grant at the authorization server."""

from __future__ import annotations

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.connection import Connection
from remit.domain.lease import Lease, LeaseState
from remit.formats import rfc6749
from remit.ports import Connector, Env

from .kill_leases import attempt

SYSTEM = Caller(CallerKind.SYSTEM, "tend-connections")


async def tend_connections(env: Env, now: int) -> int:
    """Move everything that is due at `now` one step; returns how many moved."""
    call, moved = Call(SYSTEM, now), 0
    for row in await env.store.due(Connection, now):
        ended = await _end_leases(env, call, row)
        if ended:
            env.nudge()
        moved += ended or await _end(env, call, row)
    return moved


async def _end_leases(env: Env, call: Call, row: Connection) -> int:
    """What is minted already dies with its lease; what is being minted comes to a lease that is ENDING."""
    moved = 0
    for state in (LeaseState.RESERVED, LeaseState.LIVE):
        for lease in await env.store.find(Lease, {"issuer": row.issuer, "state": state.value}, limit=1000):
            reason = f"{row.issuer} was disconnected"
            ending = lease.ending(call.now, reason)
            moved += await attempt(
                env, Change(events.LeaseEnding(lease.id, lease.task, reason), call).put(ending, was=lease)
            )
    return moved


async def _end(env: Env, call: Call, row: Connection) -> int:
    if not row.free_at(call.now):  # a mint still has it, and may come back with a newer one
        return 0
    try:
        _, force = await env.in_force()
        config = force.catalogue.issuers.get(row.issuer)
        connector: object = env.issuer(config) if config is not None else None
        if not isinstance(connector, Connector):
            raise LookupError("it is no longer in the catalogue")
        revoked = await connector.withdraw(rfc6749.grant(env.sealer.unseal(row.envelope, row.context)))
    except Exception as failure:
        error = str(failure)[:200] or type(failure).__name__
        because: events.Event = events.ConnectionEndFailed(row.issuer, row.attempts + 1, error)
        return int(await attempt(env, Change(because, call).put(row.end_failed(call.now), was=row)))
    because = events.ConnectionEnded(row.issuer, revoked)
    return int(await attempt(env, Change(because, call).put(row.ended(), was=row)))
