"""What the centre decides of a task that is at an edge: the task is called home first, and decided when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from remit.domain.caller import Call
from remit.domain.errors import NotHome
from remit.domain.estate import EdgeSeat
from remit.domain.task import Task
from remit.ports import Env
from remit.verbs.entrust import recall

PATIENCE = 3.0
LOOK_EVERY = 0.01
T = TypeVar("T")


async def at_home(env: Env, call: Call, task_id: str, ask: Callable[[Call], Awaitable[T]], why: str) -> T:
    """Ask a verb; of a task that an edge decides, once that has returned it. `NotHome` when it does not in time."""
    try:
        return await ask(call)
    except NotHome as elsewhere:
        if env.place:
            raise  # an edge calls nothing home
        task = await recall(env, call, task_id, why)
        here = await env.store.get(EdgeSeat, task.home) if task.home else None
        if task.home and (here is None or here.seat != task.seat):
            step = "That edge has lost its store: end this task and propose it again."
            raise NotHome(task.id, task.home, next_step=step) from elsewhere
        if not await _back(env, task_id):
            step = f"It was called home from edge {elsewhere.home}; try again in a few seconds."
            raise NotHome(task.id, elsewhere.home, next_step=step) from elsewhere
    return await ask(replace(call, now=env.clock()))


async def _back(env: Env, task_id: str) -> bool:
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    while loop.time() < until:
        task = await env.store.get(Task, task_id)
        if task is None or not task.home:
            return True
        await asyncio.sleep(LOOK_EVERY)
    return False
