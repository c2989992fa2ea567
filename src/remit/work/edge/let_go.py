"""Let go: from here on this edge decides nothing for a task. What it decided is reported, and the task goes home."""

from __future__ import annotations

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Busy, Conflict
from remit.domain.estate import Held
from remit.domain.task import Task, TaskState
from remit.ports import Env

ROUNDS = 1000


async def let_go(
    env: Env, call: Call, task_id: str, reason: str, how: TaskState | None = None, *, unknown: bool = False
) -> bool:
    """Whether anything changed. With `how`, the task has ended so at the centre, and is closed here as well.

    A task that ended is denied here; one that did not is no longer at home here. Under compare-and-swap against
    every decision, so none is committed afterwards. `unknown`: a task that never arrived here is given back as well.
    """
    for _ in range(ROUNDS):
        held, task = await env.store.get(Held, task_id), await env.store.get(Task, task_id)
        if held is None or held.gone or task is None:
            if not unknown:
                return False
            row = (held or Held(task_id, "", call.now)).leaves(call.now)
            change = Change(events.TaskLetGo(task_id, task.agent if task else "", reason), call).put(
                Held(row.task, row.memory, row.taken_at, row.leaving), was=held
            )
        elif how is not None and task.state is TaskState.OPEN:
            change = Change(events.TaskLetGo(task.id, task.agent, reason), call)
            change = change.put(task.ended(how, call.now, reason), was=task)
            change = change.put(held, was=held) if held.leaving else change.put(held.leaves(call.now), was=held)
        elif held.leaving:
            return False
        else:
            change = Change(events.TaskLetGo(task.id, task.agent, reason), call)
            change = change.put(task.returned(), was=task).put(held.leaves(call.now), was=held)
        try:
            await env.store.commit(change)
            return True
        except Conflict:
            continue
    raise Busy("Too many calls of this task at once.", next_step="Try again in a moment.")
