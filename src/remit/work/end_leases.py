"""End leases: expiry, revocation, failed mints and crash recovery, in one path (laws 4 and 5).

One pass: end the tasks whose time is over and those that were frozen, mark every lease that must die, and start a lane
for each issuer that has something due (see `kill_leases`), which settles the tasks whose last credential is confirmed
dead. Any step may crash and is taken again by the next pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from remit.domain.caller import Call
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.ports import Env

from .end_tasks import close, end_task, mark
from .kill_leases import SYSTEM, Lanes, settle
from .stop_frozen import stop_frozen
from .tend_approvals import tend_approvals

PAGE = 1000
TASKS = 500


@dataclass(frozen=True)
class Pass:
    """What one pass did; `failed` counts kills that an issuer did not confirm."""

    expired: int = 0
    killed: int = 0
    failed: int = 0
    settled: int = 0
    errors: tuple[str, ...] = field(default=())

    @property
    def idle(self) -> bool:
        """Nothing moved."""
        return not (self.expired or self.killed or self.settled)


async def end_leases(env: Env, now: int, *, lanes: Lanes | None = None) -> Pass:
    """Do everything that is due at `now`. With `lanes` those go on by themselves; otherwise they are waited for."""
    call = Call(SYSTEM, now)
    await tend_approvals(env, call)
    expired = await stop_frozen(env, call)
    settled = 0
    while True:
        tasks: Sequence[Task] = await env.store.due(Task, now, limit=TASKS)
        for task in tasks:
            expired += await end_task(env, call, task, TaskState.EXPIRED, "deadline")
            expired += await close(env, call, task.id)
        if len(tasks) < TASKS:
            break
        settled += sum([await settle(env, call, task.id) for task in tasks])  # what must wait makes room
    own = lanes or Lanes()
    started = own.start(env, now, await _to_kill(env, call))
    done = await asyncio.gather(*started) if lanes is None else []
    settled += sum([await settle(env, call, task.id) for task in tasks])
    return Pass(
        expired,
        sum(one.killed for one in done),
        sum(len(one.errors) for one in done),
        settled + sum(one.settled for one in done),
        tuple(error for one in done for error in one.errors),
    )


async def _to_kill(env: Env, call: Call) -> list[Lease]:
    """Everything due, marked; what its time has come for would otherwise wait for its issuer to be marked."""
    due = await env.store.due(Lease, call.now, limit=PAGE)
    marked = [lease if lease.state is LeaseState.ENDING else await mark(env, call, lease, "expired") for lease in due]
    found = [lease for lease in marked if lease is not None]
    if len(due) < PAGE:
        return found
    # More wait than one page, for an issuer that does not answer: what is due behind them must not wait with them.
    for state in (LeaseState.RESERVED, LeaseState.LIVE):
        for lease in await env.leases_in(state):
            if lease.due_at(call.now):
                await mark(env, call, lease, "expired")
    return [lease for lease in await env.leases_in(LeaseState.ENDING) if lease.due_at(call.now)]
