"""Out: whether a sink is sent the log now, and from where."""

from __future__ import annotations

from dataclasses import replace

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, WrongState
from remit.domain.out import Out, OutState
from remit.ports import Env


async def turn(env: Env, call: Call, name: str, state: OutState, reason: str) -> Out:
    """Pause it, or go on; `Absent` for a sink that the catalogue does not have."""
    row, was = await _wanted(env, name)
    if row.state is state:
        raise WrongState(f"It is {state.value} already.")
    because = events.OutTurned(name, state.value, reason)
    return await _written(env, call, replace(row, state=state, reason=reason), was, because)


async def rewind(env: Env, call: Call, name: str, place: int, reason: str, head: int) -> Out:
    """Send everything from this place on; what it had of it comes again. `head` is the size of the log."""
    row, was = await _wanted(env, name)
    if not 0 <= place <= head:
        raise BadField("place", f"the log has {head} events")
    because = events.OutRewound(name, place, reason)
    return await _written(env, call, replace(row.rewound(place), reason=reason), was, because)


async def _wanted(env: Env, name: str) -> tuple[Out, Out | None]:
    _, force = await env.in_force()
    if name not in force.catalogue.sinks:
        raise Absent(inside=f"sink {name[:64]}")
    was = await env.store.get(Out, name)
    return was or Out(name), was


async def _written(env: Env, call: Call, row: Out, was: Out | None, because: events.Event) -> Out:
    await env.store.commit(Change(because, call).put(row, was=was))
    return row
