"""Tend reviews: open those whose time has come, and have nobody's answer its effects: narrower first, then stopped.

What an agent loses is what it never used in all that the review looks at. What a review took away is given back to the
catalogue when that no longer grants it.
"""

from __future__ import annotations

from dataclasses import replace

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Busy, Conflict, WrongState
from remit.domain.freeze import Freeze, Reach
from remit.domain.review import Review, ReviewState, every, granted
from remit.govern.review import shown
from remit.govern.search import Searched
from remit.ports import Env, InForce
from remit.verbs.review import narrowed, open_review, told

from .kill_leases import attempt

SYSTEM = Caller(CallerKind.SYSTEM, "reviews")
AT_ONCE = 50


async def tend_reviews(env: Env, log: Searched, now: int) -> int:
    """Do what is due; returns how many moved."""
    call = Call(SYSTEM, now)
    _, force = await env.in_force()
    moved = 0
    for row in await env.store.due(Review, now, limit=AT_ONCE):
        match row.state:
            case _ if row.agent not in force.catalogue.agents:
                because = events.ReviewOverdue(row.agent, row.round, "gone", ())
                over = replace(row, state=ReviewState.ANSWERED, next_at=0)
                moved += await attempt(env, Change(because, call).put(over, was=row))
            case ReviewState.OPEN if not row.narrowed_at:
                moved += await _narrow(env, log, call, force, row)
            case ReviewState.OPEN:
                moved += await _freeze(env, call, row)
            case _:
                moved += await _open(env, call, row.agent)
    return moved + await _first(env, call, force) + await _followed(env, call, force)


async def _open(env: Env, call: Call, agent: str) -> bool:
    try:
        await open_review(env, call, agent)
    except (Conflict, WrongState):
        return False
    return True


async def _first(env: Env, call: Call, force: InForce) -> int:
    """Agents that are to be reviewed, and never were; a few in each pass."""
    opened = 0
    for name, agent in force.catalogue.agents.items():
        due = opened < AT_ONCE and every(agent, force.catalogue.purposes.values(), force.catalogue.terms)
        if due and await env.store.get(Review, name) is None:
            opened += await _open(env, call, name)
    return opened


async def _narrow(env: Env, log: Searched, call: Call, force: InForce, row: Review) -> bool:
    try:
        found = await shown(env, log, row)
    except Busy:  # what is not known to be unused stays until it is
        return False
    gone = found.unused if found else ()
    words = tuple(str(held) for held in gone)
    change = Change(events.ReviewOverdue(row.agent, row.round, "narrowed", words), call)
    after = row.narrowed(call.now)
    change = await told(env, change.put(after, was=row), force, force.catalogue.agents[row.agent], after)
    change = await narrowed(env, change, force, row.agent, gone, "nobody answered its review in time")
    return await attempt(env, change)


async def _freeze(env: Env, call: Call, row: Review) -> bool:
    frozen = await env.frozen()
    change = Change(events.ReviewOverdue(row.agent, row.round, "frozen", ()), call).put(row.frozen(), was=row)
    if frozen.found(Reach.AGENT, row.agent) is None:
        freeze = Freeze(Reach.AGENT, row.agent, call.now, "nobody answered its review", str(SYSTEM))
        change = change.put(frozen.forced(freeze), was=frozen)
    done = await attempt(env, change)
    env.nudge()
    return done


async def _followed(env: Env, call: Call, force: InForce) -> int:
    """What the catalogue no longer grants need not be taken away."""
    frozen, moved = await env.frozen(), 0
    for name in frozen.narrowed:
        row = await env.narrowing(name)
        agent = force.catalogue.agents.get(name)
        left = set(granted(agent, force.catalogue.purposes.values())) if agent else set()
        if left.isdisjoint(row.without):
            change = Change(events.NarrowingOver(name), call).put(replace(row, without=()), was=row)
            moved += await attempt(env, change.put(frozen.narrows(name, still=False), was=frozen))
            frozen = await env.frozen()
    return moved
