"""Sign out: a session is good no more; and the other thing that happens to one, being kept."""

from __future__ import annotations

from contextlib import suppress

from remit.domain import events
from remit.domain.caller import Call, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, Busy, Conflict
from remit.domain.session import KEPT_EVERY, Session
from remit.ports import Env

ROUNDS = 20
REASON_LIMIT = 500


async def end(env: Env, call: Call, session: str, reason: str) -> Session:
    """End a session of one's own; an operator, anybody's. One that has ended is returned as it is."""
    if len(reason) > REASON_LIMIT:
        raise BadField("reason", f"longer than {REASON_LIMIT} characters")
    for _ in range(ROUNDS):
        row = await env.store.get(Session, session)
        if row is None or (row.name != call.caller.name and call.caller.kind is not CallerKind.OPERATOR):
            raise Absent(inside=f"session {session[:64]} for {call.caller}")
        if row.ended_at:
            return row
        ended = row.ended(call.now, reason)
        because = events.SessionEnded(row.digest, row.name, reason)
        try:
            await env.store.commit(Change(because, call).put(ended, was=row))
        except Conflict:  # it was kept, or somebody else ended it: look again
            continue
        return ended
    raise Busy("The session keeps changing.", next_step="Try again.")


async def keep(env: Env, call: Call, row: Session) -> None:
    """Remember that it is in use, to within five minutes; losing that race to a sign-out is as well."""
    if call.now - row.seen_at < KEPT_EVERY:
        return
    because = events.SessionKept(row.digest, row.name)
    with suppress(Conflict):
        await env.store.commit(Change(because, call).put(row.kept(call.now), was=row))
