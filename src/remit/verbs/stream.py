"""Stream: a receiver says what it wants to be told, and how far it has been told is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, Busy, Conflict, WrongState
from remit.domain.flow import Json
from remit.domain.stream import HEARD_EVERY, MOST_SUBJECTS, VERIFY_EVERY, Receiver, Stream, StreamState
from remit.ports import Env

ROUNDS = 32
FAR = 10_000  # places that say nothing to a receiver, passed over in one step


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a receiver says of its stream; None is what it does not say. `url` is where to push to; empty: it polls."""

    kinds: tuple[str, ...] | None = None
    url: str | None = None
    authorization: str = ""
    description: str | None = None


async def receiver_of(env: Env, call: Call) -> Receiver:
    """The calling receiver, as the catalogue has it; `Absent` when it is in it no more."""
    _, force = await env.in_force()
    found = force.catalogue.receivers.get(call.caller.name)
    if found is None:
        raise Absent(inside=f"receiver {call.caller.name}")
    return found


async def stream_of(env: Env, call: Call, stream_id: str) -> tuple[Receiver, Stream]:
    """The calling receiver's stream; `Absent` when this is not the id of it."""
    receiver = await receiver_of(env, call)
    found = await env.store.get(Stream, receiver.name)
    if found is None or not found.open or found.id != stream_id:
        raise Absent(inside=f"stream {stream_id[:64]} of {receiver.name}")
    return receiver, found


async def make(env: Env, call: Call, wanted: Wanted, head: int) -> Stream:
    """Begin at the end of the log (`head`). A receiver has one stream."""
    receiver = await receiver_of(env, call)
    old = await env.store.get(Stream, receiver.name)
    if old is not None and old.open:
        raise WrongState("You have a stream already.", next_step="Read it, change it, or delete it.")
    row = Stream(receiver.name, env.new_id("str"), call.now, head, wanted.kinds or (), heard_at=call.now)
    row = _as_wanted(env, row, wanted)
    because = events.StreamMade(row.id, row.receiver, "push" if row.url else "poll", row.kinds)
    await env.store.commit(Change(because, call).put(row, was=old))
    return row


async def change(env: Env, call: Call, stream_id: str, wanted: Wanted) -> Stream:
    """Change what is said, and nothing else."""
    what = tuple(name for name in ("kinds", "url", "description") if getattr(wanted, name) is not None)

    def changed(row: Stream) -> tuple[Stream, events.Event]:
        after = replace(_as_wanted(env, row, wanted), attempts=0, failing=0, due=0, error="", heard_at=call.now)
        return after, events.StreamChanged(row.id, row.receiver, what)

    return await _committed(env, call, stream_id, changed)


async def turn(env: Env, call: Call, stream_id: str, state: StreamState, reason: str, head: int) -> Stream:
    """Enable, pause, disable or delete it."""

    def turned(row: Stream) -> tuple[Stream, events.Event]:
        after = replace(row.turned(state, reason, head), heard_at=call.now)
        if state is StreamState.GONE:
            after = replace(after, authorization="", unwanted=(), acked=())
        return after, events.StreamTurned(row.id, row.receiver, state.value, reason)

    return await _committed(env, call, stream_id, turned)


async def verify(env: Env, call: Call, stream_id: str, state: str) -> Stream:
    """Send this receiver its own `state` back; `Busy` when it asks too often."""

    def asked(row: Stream) -> tuple[Stream, events.Event]:
        if call.now - row.verified_at < VERIFY_EVERY:
            raise Busy("Verification was asked for a moment ago.", next_step="See min_verification_interval.")
        after = replace(row, verified_at=call.now, heard_at=call.now)
        return after, events.StreamVerificationAsked(row.id, row.receiver, state)

    return await _committed(env, call, stream_id, asked)


async def want(env: Env, call: Call, stream_id: str, subject: Mapping[str, Json], *, wanted: bool) -> Stream:
    """Be told of this subject, or not. Nothing is said about whether it is there (Shared Signals 1.0, section 9.1)."""

    def changed(row: Stream) -> tuple[Stream, events.Event]:
        left = tuple(one for one in row.unwanted if one != subject)
        after = left if wanted else (*left, subject)
        if len(after) > MOST_SUBJECTS:
            raise BadField("subject", f"more than {MOST_SUBJECTS} are removed; ask for other events, or none")
        what = ("subject added",) if wanted else ("subject removed",)
        return replace(row, unwanted=after, heard_at=call.now), events.StreamChanged(row.id, row.receiver, what)

    return await _committed(env, call, stream_id, changed)


async def heard(env: Env, call: Call, row: Stream) -> None:
    """Remember that its receiver is there, to within an hour."""
    if call.now - row.heard_at >= HEARD_EVERY:
        because = events.StreamHeard(row.id, row.receiver)
        await _committed(env, call, row.id, lambda now: (replace(now, heard_at=call.now), because))


async def acknowledge(
    env: Env,
    call: Call,
    row: Stream,
    done: Sequence[int],
    returned: Mapping[int, str],
    outstanding: Sequence[int],
    end: int,
) -> Stream:
    """A poller has these places, or cannot use them. `outstanding` are the places that it may have had from here, and
    `end` is where the next would be looked for.
    """
    acked = {*row.acked, *(place for place in (*done, *returned) if place in outstanding)}
    if acked == {*row.acked} and (outstanding or end - row.position < FAR):
        return row
    position = next((place for place in outstanding if place not in acked), end)
    after = replace(row.reached(position, tuple(sorted(acked))), heard_at=call.now)
    for place, error in returned.items():
        if place in acked and place not in row.acked:
            because_returned = events.SignalReturned(row.id, row.receiver, place, error)
            await env.store.commit(Change(because_returned, call))
    because = events.SignalsDelivered(row.id, row.receiver, len(acked) - len(row.acked), position)
    await env.store.commit(Change(because, call).put(after, was=row))
    return replace(after, version=row.version + 1)


def _as_wanted(env: Env, row: Stream, wanted: Wanted) -> Stream:
    if wanted.kinds is not None:
        row = replace(row, kinds=wanted.kinds)
    if wanted.description is not None:
        row = replace(row, description=wanted.description)
    if wanted.url is None:
        return row
    row = replace(row, url=wanted.url, authorization="")
    if not wanted.authorization:
        return row
    return replace(row, authorization=env.sealer.seal(wanted.authorization.encode(), row.context))


async def _committed(
    env: Env, call: Call, stream_id: str, after: Callable[[Stream], tuple[Stream, events.Event]]
) -> Stream:
    for _ in range(ROUNDS):
        _, row = await stream_of(env, call, stream_id)
        changed, because = after(row)
        try:
            await env.store.commit(Change(because, call).put(changed, was=row))
        except Conflict:  # it was sent something meanwhile
            continue
        return changed
    raise Busy("The stream keeps changing.", next_step="Try again at once.")
