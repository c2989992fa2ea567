"""Heed: what an identity provider says of a person takes effect here, and then is recorded as heard.

In this order, so that an event that was acknowledged has had its effect: after a crash in between it comes again, ends
what is left, and is recorded then. One that is recorded has no effect a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from remit.domain import events
from remit.domain.above import Branch
from remit.domain.caller import AccessKey, Call, CallerKind
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.change import Change
from remit.domain.errors import Busy, Conflict
from remit.domain.freeze import Freeze, Reach
from remit.domain.session import Session
from remit.domain.signal import LATE, Effect, HeardSignal, SecurityEvent, Transmitter
from remit.domain.task import Task, TaskState
from remit.ports import Env

ROUNDS = 64
AT_ONCE = 64


async def heed(env: Env, call: Call, by: Transmitter, said: SecurityEvent) -> HeardSignal:
    """When this returns, what it ends has ended, and that it was heard is durable.

    Sessions and tasks end that began before it was said. Who begins another afterwards has signed in again, or has a
    key, which only an event that ends keys takes away.
    """
    _, force = await env.in_force()
    row = HeardSignal(by.name, said.jti, said.kind, by.person(said.subject, force.catalogue.people), call.now)
    known = await env.store.get(HeardSignal, row.key)
    if known is not None:
        return known
    effects = by.effects_of(said) if row.person else ()
    why, until = f"{by.name} says {said.kind.rpartition('/')[2]}", said.issued_at + LATE
    if Effect.ESTATE in effects:
        await _frozen(env, call, row.person, why)
    if Effect.KEYS in effects:
        await _keys(env, call, row.person, why)
    sessions = await _sessions(env, call, row.person, why, until) if Effect.SESSIONS in effects else 0
    tasks = await _begun(env, call, row.person, why, until) if Effect.BEGUN in effects else 0
    words = tuple(effect.value for effect in effects)
    because = events.SignalHeeded(by.name, said.jti, said.kind, row.person, words, tasks, sessions)
    with suppress(Conflict):  # it came twice at once, and both have ended what there was
        await env.store.commit(Change(because, call).put(row, was=None))
    env.nudge()
    return row


async def _frozen(env: Env, call: Call, person: str, why: str) -> None:
    """What they answer for acts no more until an operator says so."""

    async def once() -> bool:
        frozen = await env.frozen()
        if frozen.found(Reach.OWNER, person) is not None:
            return True
        because = events.Froze(Reach.OWNER.value, person, why)
        new = Freeze(Reach.OWNER, person, call.now, why, str(call.caller))
        await env.store.commit(Change(because, call).put(frozen.began(new), was=frozen))
        return True

    await _until_done(once)


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


async def _begun(env: Env, call: Call, person: str, why: str, until: int) -> int:
    """Whatever they began, whoever works on it. Once more after the last, for what was being opened meanwhile."""
    who, ended = Principal(PrincipalKind.PERSON, person), 0
    while True:
        found: list[str] = []
        after = ""
        while page := await env.store.find(Task, {"state": TaskState.OPEN.value}, after=after, limit=1000):
            found += [task.id for task in page if task.initiator == who and task.opened_at <= until]
            after = page[-1].key
        if not found:
            return ended
        for start in range(0, len(found), AT_ONCE):  # so that their commits share a write
            some = found[start : start + AT_ONCE]
            ended += sum(await asyncio.gather(*(_end(env, call, task_id, why) for task_id in some)))


async def _end(env: Env, call: Call, task_id: str, why: str) -> bool:
    async def once() -> bool:
        task = await env.store.get(Task, task_id)
        if task is None or task.state is not TaskState.OPEN:
            return False
        because = events.TaskEnded(task.id, task.agent, TaskState.REVOKED.value, why)
        change = Change(because, call).put(task.ended(TaskState.REVOKED, call.now, why), was=task)
        branch = await env.store.get(Branch, task.id) if task.handed else None
        await env.store.commit(change.put(branch.ended(call.now), was=branch) if branch else change)
        return True

    return await _until_done(once)


async def _until_done(once: Callable[[], Awaitable[bool]]) -> bool:
    for _ in range(ROUNDS):
        try:
            return await once()
        except Conflict:
            continue
    raise Busy("What is to end keeps changing.", next_step="Send the event again.")
