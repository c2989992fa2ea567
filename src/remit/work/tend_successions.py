"""Tend successions: see who is missing, ask the next, and stop what nobody answers for in time.

It reads the catalogue and who has left, so it does not matter who said so, or whether anybody did while it was away.
Each step is a commit of its own, so an owner of thousands of agents leaves without any commit being large.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.departure import Departure
from remit.domain.errors import WrongState
from remit.domain.freeze import Freeze, Frozen, Reach
from remit.domain.notice import succession_notice
from remit.domain.succession import Missing, Succession, SuccessionState, begun, missing, reach_of
from remit.ports import Env, InForce

from .kill_leases import attempt

SYSTEM = Caller(CallerKind.SYSTEM, "successions")
AT_ONCE = 64


async def tend_successions(env: Env, now: int) -> int:
    """Do what is due; returns how many moved."""
    call = Call(SYSTEM, now)
    _, force = await env.in_force()
    rows = await env.successions()
    gone = await _gone(env)
    steps = [*_seen(env, call, force, rows, gone)]
    due = await env.store.due(Succession, now, limit=1000)
    steps += [_ask(env, call, force, row) for row in due if now < row.until]
    moved = 0
    for start in range(0, len(steps), AT_ONCE):  # so that their commits share a write
        moved += sum(await asyncio.gather(*steps[start : start + AT_ONCE]))
    taken = {row.owner for row in rows.values() if row.state is SuccessionState.TAKEN}
    for row in due:
        if now >= row.until:
            moved += await _stop(env, call, row, row.owner in taken or row.missing is Missing.UNCONFIRMED)
    if moved:
        env.nudge()
    return moved


async def _gone(env: Env) -> frozenset[str]:
    found: list[Departure] = []
    while page := await env.store.find(Departure, {}, after=found[-1].key if found else "", limit=1000):
        found += page
    return frozenset(row.person for row in found if row.gone)


def _seen(
    env: Env, call: Call, force: InForce, rows: Mapping[str, Succession], gone: frozenset[str]
) -> Sequence[Awaitable[bool]]:
    """What begins, and what is over."""
    terms, people = force.catalogue.terms, force.catalogue.people
    steps: list[Awaitable[bool]] = []
    left = dict(rows)
    for thing in force.catalogue.things:
        row = left.pop(f"{reach_of(thing).value} {thing.name}", None)
        why = missing(thing, row, people, gone, terms)
        if why is None:
            if row is not None and (row.waits or row.owner != thing.owner or row.of_who_is_back(gone)):
                steps.append(_over(env, call, row))
        elif row is None or not row.waits or (row.owner, row.missing) != (thing.owner, why):
            after = begun(thing, why, gone, terms, call.now)
            to = after.asked[-1] if after.asked else ""
            because = events.SuccessionBegan(after.reach.value, after.name, after.owner, why.value, to, after.until)
            steps.append(_put(env, call, force, because, after, row))
    return [*steps, *(_over(env, call, row) for row in left.values())]


async def _over(env: Env, call: Call, row: Succession) -> bool:
    because = events.SuccessionOver(row.reach.value, row.name, row.owner)
    return await attempt(env, Change(because, call).put(row.over(), was=row))


async def _ask(env: Env, call: Call, force: InForce, row: Succession) -> bool:
    after = row.next_asked(call.now)
    return await _put(
        env, call, force, events.SuccessionEscalated(row.reach.value, row.name, after.asked[-1]), after, row
    )


async def _put(
    env: Env, call: Call, force: InForce, because: events.Event, after: Succession, was: Succession | None
) -> bool:
    if was is None:
        was = await env.store.get(Succession, after.key)  # one that is over may be begun again
        if was is not None and was.state is not SuccessionState.OVER:
            return False
    change = Change(because, call).put(after, was=was)
    if force.catalogue.tells and after.asked:
        change = change.put(succession_notice(after, call.now), was=None)
    return await attempt(env, change)


async def _stop(env: Env, call: Call, row: Succession, alone: bool) -> bool:
    """Freeze it: by itself where others of the owner's go on, or else with the whole estate, in one freeze."""
    frozen = await env.frozen()
    found = frozen.found(Reach.OWNER, row.owner) or frozen.found(row.reach, row.name)
    reason = f"{row.owner} {'left' if row.missing is Missing.LEFT else 'never confirmed'}, and nobody took over"
    after = frozen
    if found is None:
        own = Freeze(row.reach, row.name, call.now, reason, str(SYSTEM))
        estate = Freeze(Reach.OWNER, row.owner, call.now, reason, str(SYSTEM))
        found, after = _frozen(frozen, own if alone else estate, estate)
    because = events.SuccessionStopped(row.reach.value, row.name, row.owner, found.target)
    change = Change(because, call).put(row.stopped(), was=row)
    return await attempt(env, change.put(after, was=frozen) if after is not frozen else change.check(frozen))


def _frozen(frozen: Frozen, wanted: Freeze, instead: Freeze) -> tuple[Freeze, Frozen]:
    try:
        return wanted, frozen.began(wanted)
    except WrongState:  # so much is frozen one by one that this would not be; the owner's estate makes room for itself
        return instead, frozen.forced(instead)
