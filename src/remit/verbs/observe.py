"""Observe: a task has read a result. What is kept is its label, and keyed digests of the values in it.

An enforcement point reports what it is about to give to the agent, and gives it when this has returned.
"""

from __future__ import annotations

import asyncio

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, Busy, Conflict, Denied
from remit.domain.flow import Json, Trust
from remit.domain.origin import Observation
from remit.domain.task import Task
from remit.domain.tool import Tool
from remit.formats import provenance
from remit.ports import Env

ROUNDS = 24
RESULTS = 5_000  # that one task may read
_SMALL = 8_192


async def observe(
    env: Env, call: Call, task_id: str, tool_name: str, content: Json, *, size: int = 2**20
) -> Observation:
    """Join the result's label to the task's, and remember the values in it until the task has settled.

    Raises `Absent` for a task that is not there or not the caller's, `BadField` for a tool nobody reviewed, `Denied`
    when the task is over: then the result is for nobody. `size` is that of `content` in bytes, as it came: what
    is large is taken apart in a thread.
    """
    task = await _mine(env, call, task_id)
    _, force = await env.in_force()
    tool = force.catalogue.tools.get(tool_name)
    if tool is None:
        raise BadField("tool", f"nobody has reviewed a tool {tool_name[:128]!r}")
    digest = provenance.digester(env.sealer.derive(task.memory))
    if size < _SMALL:
        found = provenance.observed(content, tool, digest)
    else:
        found = await asyncio.to_thread(provenance.observed, content, tool, digest)
    catalogue = force.catalogue
    for _ in range(ROUNDS):
        above = await env.above_of(task)
        over = above.flaw(catalogue, call.now)
        if over is not None:
            raise Denied(over.sentence, reasons=(over.reason.value,))
        if above.frozen.of(catalogue.agents.get(task.agent), catalogue.purposes.get(task.purpose)) is not None:
            raise Denied(f"{task.agent} is frozen; its results are for nobody.", reasons=("agent_frozen",))
        if not task.open_at(call.now):
            raise Denied(f"The task is {task.state.value}; its results are for nobody.", reasons=("task_not_open",))
        if task.observed >= RESULTS:
            raise Denied(f"This task has read {RESULTS} results.", reasons=("budget_spent",))
        row = _row(task, tool, found, call.now)
        because = events.ResultObserved(
            task.id, tool.name, row.number, row.trust.word, row.sensitivity.word, row.values, row.whole
        )
        change = Change(because, call).put(task.read(row.label()), was=task).put(row, was=None)
        try:
            await env.store.commit(above.darken(above.guard(change), row.label()))
        except Conflict:
            task = await _mine(env, call, task_id)
            continue
        return row
    raise Busy("Too many calls of this task at once.", next_step="Try again in a moment.")


async def _mine(env: Env, call: Call, task_id: str) -> Task:
    task = await env.store.get(Task, task_id)
    if task is None or not task.acted_for_by(call.caller):
        raise Absent(inside=f"task {task_id} for {call.caller}")
    task.must_be_at(env.place)
    return task


def _row(task: Task, tool: Tool, found: tuple[bytes, bytes, bool], now: int) -> Observation:
    trusted, untrusted, whole = found
    clean = tool.output_trust is Trust.TRUSTED and not untrusted
    trust = Trust.TRUSTED if clean else Trust.UNTRUSTED
    return Observation(
        task.id, task.observed + 1, tool.name, trust, tool.output_sensitivity, now, trusted, untrusted, whole, task.root
    )
