"""Heed: what an identity provider says of a person takes effect here, and is recorded as heard in the same commit.

Keys and sessions end before that, each in a commit of its own: after a crash in between the event comes again and ends
what is left. One that is recorded has no effect a second time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from remit.domain import events
from remit.domain.caller import AccessKey, Call, CallerKind
from remit.domain.change import Change
from remit.domain.departure import Departure, written
from remit.domain.errors import Busy, Conflict
from remit.domain.freeze import Freeze, Reach
from remit.domain.session import Session
from remit.domain.signal import LATE, Effect, HeardSignal, SecurityEvent, Transmitter
from remit.domain.task import Task
from remit.ports import Env

R = TypeVar("R")
ROUNDS = 64
AHEAD = 5_000  # ms: another replica's clock may be that far ahead of this one's


async def heed(env: Env, call: Call, by: Transmitter, said: SecurityEvent) -> HeardSignal:
    """When this returns, nothing that it ends is permitted any more, and that it was heard is durable.

    Sessions and tasks end that began before it was said. Who begins another afterwards has signed in again, or has a
    key, which only an event that ends keys takes away. Open tasks are ended by reconciliation.
    """
    _, force = await env.in_force()
    row = HeardSignal(by.name, said.jti, said.kind, by.person(said.subject, force.catalogue.people), call.now)
    known = await env.store.get(HeardSignal, row.key)
    if known is not None:
        return known
    effects = by.effects_of(said) if row.person else ()
    why, until = f"{by.name} says {said.kind.rpartition('/')[2]}", said.issued_at + LATE
    if Effect.KEYS in effects:
        await _keys(env, call, row.person, why)
    sessions = await _sessions(env, call, row.person, why, until) if Effect.SESSIONS in effects else 0

    async def once() -> HeardSignal:
        heard = await env.store.get(HeardSignal, row.key)
        if heard is not None:  # it came twice at once
            return heard
        before = await env.departure(row.person)
        after = _after(call, before, effects, why, min(until, call.now + AHEAD))
        tasks = await _begun(env, after) if after != before else 0
        words = tuple(effect.value for effect in effects)
        because = events.SignalHeeded(by.name, said.jti, said.kind, row.person, words, tasks, sessions)
        change = Change(because, call).put(row, was=None)
        if after != before:
            change = written(change, before, after, env.new_id("rdc"), why, call.now)
        frozen = await env.frozen()
        if Effect.ESTATE in effects and frozen.found(Reach.OWNER, row.person) is None:
            freeze = Freeze(Reach.OWNER, row.person, call.now, why, str(call.caller))
            change = change.put(frozen.began(freeze), was=frozen)
        await env.store.commit(change)
        return row

    found = await _until_done(once)
    env.nudge()
    return found


def _after(call: Call, row: Departure, effects: tuple[Effect, ...], why: str, until: int) -> Departure:
    if Effect.LEFT in effects and not row.gone:
        row = row.left(call.now, str(call.caller), why)
    return row.over(until) if Effect.BEGUN in effects else row


async def _begun(env: Env, row: Departure) -> int:
    """How many open tasks it ends, whoever works on them."""
    found, after = 0, ""
    where = {"state": "open", "initiator": f"person:{row.person}"}
    while page := await env.store.find(Task, where, after=after, limit=1000):
        found += sum(bool(row.ended(task.opened_at)) for task in page)
        after = page[-1].key
    return found


async def _keys(env: Env, call: Call, person: str, why: str) -> None:
    for kind in (CallerKind.PERSON, CallerKind.OPERATOR, CallerKind.AUDITOR):
        rows = await env.store.find(AccessKey, {"name": person, "kind": kind.value}, limit=1000)
        for row in rows:
            if call.now < row.expires_at:
                because = events.AccessKeyEnded(kind.value, person, row.digest, why)
                with suppress(Conflict):  # nothing but this ends one
                    await env.store.commit(Change(because, call).put(replace(row, expires_at=call.now), was=row))


async def _sessions(env: Env, call: Call, person: str, why: str, until: int) -> int:
    ended = 0
    for row in await env.store.find(Session, {"name": person, "state": "open"}, limit=1000):
        if row.began_at > until:
            continue

        async def once(key: str = row.key) -> bool:
            found = await env.store.get(Session, key)
            if found is None or found.ended_at:
                return False
            because = events.SessionEnded(found.digest, person, why)
            await env.store.commit(Change(because, call).put(found.ended(call.now, why), was=found))
            return True

        ended += await _until_done(once)
    return ended


async def _until_done(once: Callable[[], Awaitable[R]]) -> R:
    for _ in range(ROUNDS):
        try:
            return await once()
        except Conflict:
            continue
    raise Busy("What is to end keeps changing.", next_step="Send the event again.")
