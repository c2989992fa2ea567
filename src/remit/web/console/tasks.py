"""Tasks: the list, and one of them."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.approval import Approval
from remit.domain.caller import Call, CallerKind
from remit.domain.errors import BadField
from remit.domain.lease import Lease
from remit.domain.task import TaskState
from remit.formats import form
from remit.verbs.revoke import end_task
from remit.web import shapes
from remit.web.api_agents import visible
from remit.web.house import Asked, House

from . import seen, story
from .page import onward

PAGE = 100
STATES = tuple(state.value for state in TaskState)


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """Tasks the caller may see, by state, agent, purpose, and words in them."""
    where = {name: asked.query[name] for name in ("state", "agent", "purpose") if asked.query.get(name)}
    if where.get("state", "open") not in STATES:
        raise BadField("state", f"must be {', '.join(STATES)}")
    after, q = asked.query.get("after", ""), asked.query.get("q", "")
    rows, following = await seen.tasks(house, call, where, after, PAGE)
    found = [shapes.task(row) for row in rows]
    words = q.casefold().split()
    names = ("id", "goal", "agent", "purpose", "initiator", "state")
    shown = [task for task in found if all(w in " ".join(task[n] for n in names).casefold() for w in words)]
    filters = {name: where.get(name, "") for name in ("state", "agent", "purpose")}
    return {"items": shown, "next": following, "q": q, "filters": filters, "states": STATES}


async def one(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """One task: what it is, what it asked people for, what it holds, and its story."""
    task = await visible(house, call, asked.path["task"])
    approvals = await house.env.store.find(Approval, {"task": task.id}, limit=PAGE)
    leases = await house.env.store.find(Lease, {"task": task.id}, limit=PAGE)
    told = await story.read(house, call, task, asked.whole("before", 0, most=2**53))
    return {
        "task": shapes.task(task),
        "approvals": [shapes.approval(row) for row in sorted(approvals, key=lambda row: -row.asked_at)],
        "leases": [shapes.lease(row) for row in sorted(leases, key=lambda row: -row.reserved_at)],
        "may_end": task.state is TaskState.OPEN and call.caller.kind is not CallerKind.AUDITOR,
        **told,
    }


async def end(house: House, call: Call, asked: Asked) -> Response:
    """End the task, from its page."""
    reason = form.one(form.parse(asked.body), "reason")
    task = await end_task(house.env, call, asked.path["task"], reason)
    return onward(f"/console/tasks/{task.id}")
