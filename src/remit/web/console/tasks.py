"""Tasks: the list, and one of them."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.approval import Approval
from remit.domain.caller import Call, CallerKind
from remit.domain.errors import BadField
from remit.domain.lease import Lease
from remit.domain.task import Task, TaskState
from remit.formats import form
from remit.verbs.revoke import end_task
from remit.web import shapes, shapes_approvals
from remit.web.api_agents import visible
from remit.web.house import Asked, House

from . import seen, story
from .page import onward

PAGE = 100
PAGES = 5
STATES = tuple(state.value for state in TaskState)


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """Tasks the caller may see, the newest first, by state, agent, purpose, and words in them.

    `after` goes on where a page ended: it looks at so many tasks, and may find fewer.
    """
    filters = {name: asked.query.get(name, "") for name in ("state", "agent", "purpose")}
    if filters["state"] and filters["state"] not in STATES:
        raise BadField("state", f"must be {', '.join(STATES)}")
    after, q = asked.whole("after", 0, most=10**15), asked.query.get("q", "")
    words = q.casefold().split()
    items: list[dict[str, Any]] = []
    for _ in range(PAGES):
        rows, after = await _next(house, call, filters, after)
        items += [task for task in map(shapes.task, rows) if all(word in _text(task) for word in words)]
        if not after or len(items) >= PAGE:
            break
    return {"items": items, "next": after, "q": q, "filters": filters, "states": STATES}


async def _next(house: House, call: Call, filters: dict[str, str], after: int) -> tuple[list[Task], int]:
    where = {name: filters[name] for name in ("agent", "purpose") if filters[name]}
    state = filters["state"]
    if state == TaskState.OPEN.value:  # few of all there were; the log would be looked through for long
        fit = [t for t in await seen.open_tasks(house, call) if all(getattr(t, n) == v for n, v in where.items())]
        return fit[after : after + PAGE], after + PAGE if after + PAGE < len(fit) else 0
    rows, following = await seen.newest(house, call, where, after, PAGE)
    return [row for row in rows if not state or row.state.value == state], following


def _text(task: dict[str, Any]) -> str:
    names = ("id", "goal", "agent", "purpose", "initiator", "state", "home")
    return " ".join(task[name] for name in names).casefold()


async def one(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """One task: what it is, what it asked people for, what it holds, and its story."""
    task = await visible(house, call, asked.path["task"])
    approvals = await house.env.store.find(Approval, {"task": task.id}, limit=PAGE)
    leases = await house.env.store.find(Lease, {"task": task.id}, limit=PAGE)
    told = await story.read(house, call, task, asked.whole("before", 0, most=2**53))
    return {
        "task": shapes.task(task),
        "approvals": [shapes_approvals.approval(row) for row in sorted(approvals, key=lambda row: -row.asked_at)],
        "leases": [shapes.lease(row) for row in sorted(leases, key=lambda row: -row.reserved_at)],
        "may_end": task.state is TaskState.OPEN and call.caller.kind is not CallerKind.AUDITOR,
        **told,
    }


async def end(house: House, call: Call, asked: Asked) -> Response:
    """End the task, from its page."""
    reason = form.one(form.parse(asked.body), "reason")
    task = await end_task(house.env, call, asked.path["task"], reason)
    return onward(f"/console/tasks/{task.id}")
