"""Renew: lend a connection's grant to one mint at a time, and keep what became of it before its token may be used.

Take → use → return, two commits around the call outside. A refresh token that was replaced is durable before the access
token that came with it is anybody's (laws 4 and 5). If we crash in between, the next mint tries what we still have: a
server with a grace period takes it, and otherwise the connection is LOST, in sight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.connection import Connection, ConnectionState
from remit.domain.errors import Conflict, IssuerUnavailable, StoreUnavailable
from remit.formats import rfc6749
from remit.ports import Env

T = TypeVar("T")
SYSTEM = Caller(CallerKind.SYSTEM, "renew")
TAKEN_FOR = 12_000
LOOK_AGAIN = 0.02


_USES: set[asyncio.Future[Any]] = set()


async def renew(
    env: Env,
    issuer: str,
    lease: str,
    until: int,
    use: Callable[[rfc6749.Grant], Awaitable[tuple[rfc6749.Grant, T]]],
) -> T:
    """See `ports.Renew`; `until` (ms) is how long to wait for whoever uses it now.

    Whoever waits for this may hang up; what the server gave is kept all the same.
    """
    row = await _take(env, issuer, lease, until)
    using: asyncio.Future[T] = asyncio.ensure_future(_use(env, row, use))
    _USES.add(using)
    using.add_done_callback(_USES.discard)
    return await asyncio.shield(using)


async def _use(env: Env, row: Connection, use: Callable[[rfc6749.Grant], Awaitable[tuple[rfc6749.Grant, T]]]) -> T:
    grant = rfc6749.grant(env.sealer.unseal(row.envelope, row.context))
    fresh, lost = grant, ""
    try:
        fresh, found = await use(grant)
        return found
    except rfc6749.TokenRefused as refused:
        lost = refused.word if refused.word == "invalid_grant" else ""
        raise
    finally:
        await _return(env, row, grant, fresh, lost)


async def _take(env: Env, issuer: str, lease: str, until: int) -> Connection:
    while True:
        now = env.clock()
        row = await env.store.get(Connection, issuer)
        if row is None or row.state is not ConnectionState.CONNECTED:
            raise unconnected(row, issuer)
        if row.free_at(now):
            taken = row.taken(lease, now + TAKEN_FOR)
            try:
                await env.store.commit(Change(events.GrantTaken(issuer, lease), Call(SYSTEM, now)).put(taken, was=row))
            except Conflict:
                continue
            return taken
        if now >= until:
            raise IssuerUnavailable(f"The grant of {issuer} is in use.", next_step="Try again in a moment.")
        await asyncio.sleep(LOOK_AGAIN)


async def _return(env: Env, taken: Connection, grant: rfc6749.Grant, fresh: rfc6749.Grant, lost: str) -> None:
    """Whoever moved the row meanwhile, ours is the newest grant unless theirs is another than the one we took."""
    rotated = fresh != grant
    while True:
        row = await _read(env, taken)
        if row is None or rfc6749.grant(env.sealer.unseal(row.envelope, row.context)) != grant:
            return
        call = Call(SYSTEM, env.clock())
        if lost:
            change = Change(events.ConnectionLost(row.issuer, lost), call).put(row.lost(lost), was=row)
        else:
            envelope = env.sealer.seal(rfc6749.kept(fresh), row.context) if rotated else row.envelope
            because = events.GrantReturned(row.issuer, taken.taken_by, rotated)
            change = Change(because, call).put(row.returned(envelope), was=row)
        try:
            await env.store.commit(change)
            return
        except Conflict:
            continue
        except StoreUnavailable:
            if env.clock() >= taken.taken_until:
                raise
            await asyncio.sleep(LOOK_AGAIN)


async def _read(env: Env, taken: Connection) -> Connection | None:
    while True:
        try:
            row = await env.store.get(Connection, taken.issuer)
        except StoreUnavailable:
            if env.clock() >= taken.taken_until:
                raise
            await asyncio.sleep(LOOK_AGAIN)
            continue
        return row if row is not None and row.envelope else None


def unconnected(row: Connection | None, issuer: str) -> IssuerUnavailable:
    """Nobody has let us in, or no longer."""
    what = "is connected no more" if row is not None and row.state is not ConnectionState.NEW else "is not connected"
    return IssuerUnavailable(f"{issuer} {what}.", next_step=f"An operator connects it: remit issuer connect {issuer}")
