"""Depart: a person is here no more. What they began ends; for what they answer for, others are asked, or it stops.

An operator says so, or a directory. What an identity provider says (`heed`) writes the same row.
"""

from __future__ import annotations

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.departure import Departure, written
from remit.domain.errors import Absent, BadField, Busy, Conflict
from remit.domain.freeze import Freeze, Reach
from remit.ports import Env

ROUNDS = 64


async def depart(env: Env, call: Call, person: str, reason: str, *, estate: bool = False) -> tuple[Departure, str]:
    """Mark them as gone. When this returns they begin no task any more; those that are open end by reconciliation, of
    which the returned redecision tells. `estate`: what they answer for is frozen in the same commit.

    Leaving twice returns the first departure.
    """
    if not reason or len(reason) > 500:
        raise BadField("reason", "say why in 1 to 500 characters")
    _, force = await env.in_force()
    for _ in range(ROUNDS):
        row = await env.departure(person)
        if person not in force.catalogue.people and not row.version:
            raise Absent(inside=f"person {person}")
        if row.gone and not estate:
            return row, ""
        gone = row if row.gone else row.left(call.now, str(call.caller), reason)
        again, change = env.new_id("rdc"), Change(events.PersonLeft(person, reason, estate), call)
        change = written(change, row, gone, again, f"{person} left ({reason})", call.now)
        frozen = await env.frozen()
        if estate and frozen.found(Reach.OWNER, person) is None:
            freeze = Freeze(Reach.OWNER, person, call.now, f"{person} left: {reason}", str(call.caller))
            change = change.put(frozen.began(freeze), was=frozen)
        try:
            await env.store.commit(change)
        except Conflict:
            continue
        env.nudge()
        return gone, again
    raise Busy("What is frozen keeps changing.", next_step="Try again at once.")


async def come_back(env: Env, call: Call, person: str) -> Departure:
    """They are here again, and may begin tasks. What ended stays ended, and what was frozen with them frozen."""
    row = await env.departure(person)
    if not row.version:
        raise Absent(inside=f"departure of {person}")
    back = row.returned(call.now)
    await env.store.commit(Change(events.PersonReturned(person), call).put(back, was=row))
    return back
