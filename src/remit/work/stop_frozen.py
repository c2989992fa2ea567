"""Stop frozen: end what is open below a freeze until nothing of it lives; then say how long that took."""

from __future__ import annotations

import asyncio

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.freeze import Reach
from remit.domain.lease import LeaseState
from remit.domain.task import Task, TaskState
from remit.ports import Env
from remit.verbs.freeze import below

from .end_tasks import close, end_task, mark
from .kill_leases import attempt

AT_ONCE = 64


async def stop_frozen(env: Env, call: Call) -> int:
    """Go on with every freeze that has not reached everything; returns how many tasks ended.

    No task begins below a freeze once it is committed, so what is found is all there will ever be.
    """
    ended = 0
    for freeze in (await env.frozen()).freezes:
        if freeze.reached_at:
            continue
        found = await below(env, freeze)
        for start in range(0, len(found.tasks), AT_ONCE):  # so that their commits share a write
            some = found.tasks[start : start + AT_ONCE]
            ended += sum(await asyncio.gather(*(_end(env, call, task, f"frozen: {freeze.reason}") for task in some)))
        if freeze.reach is Reach.ENVIRONMENT:  # their tasks go on
            living = [one for one in found.leases if one.state in (LeaseState.RESERVED, LeaseState.LIVE)]
            await asyncio.gather(*(mark(env, call, one, f"frozen: {freeze.reason}") for one in living))
        if not found.tasks and not found.credentials:
            now = env.clock()
            frozen = await env.frozen()
            because = events.FreezeReached(freeze.reach.value, freeze.name, now - freeze.since)
            await attempt(env, Change(because, call).put(frozen.reached(freeze, now), was=frozen))
    return ended


async def _end(env: Env, call: Call, task: Task, reason: str) -> int:
    return await end_task(env, call, task, TaskState.REVOKED, reason) + await close(env, call, task.id)
