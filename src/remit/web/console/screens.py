"""Every screen and every form of the console: data. The route table is made from it."""

from __future__ import annotations

from . import approvals, freeze, now, passkeys, tasks
from .page import ACT, PERSON, Action, Screen

SCREENS: tuple[Screen, ...] = (
    Screen("/console", now.read, "now.html", "Now", nav="Now", key="n"),
    Screen(
        "/console/approvals",
        approvals.read,
        "approvals.html",
        "Approvals",
        nav="Approvals",
        key="a",
        query=("q", "state", "for"),
    ),
    Screen("/console/approvals/{approval}", approvals.one, "approval.html", "Approval"),
    Screen(
        "/console/tasks",
        tasks.read,
        "tasks.html",
        "Tasks",
        nav="Tasks",
        key="t",
        query=("q", "state", "agent", "purpose", "after"),
    ),
    Screen("/console/tasks/{task}", tasks.one, "task.html", "Task"),
    Screen("/console/freeze", freeze.read, "freeze.html", "Freeze", nav="Freeze", key="f"),
    Screen("/console/passkeys", passkeys.read, "passkeys.html", "Your passkeys", callers=PERSON),
)
ACTIONS: tuple[Action, ...] = (
    Action("/console/approvals/{approval}/challenge", approvals.challenge, callers=PERSON),
    Action("/console/approvals/{approval}/answer", approvals.answer, callers=PERSON),
    Action("/console/approvals/{approval}/question", approvals.question, callers=PERSON),
    Action("/console/approvals/{approval}/hand-on", approvals.hand_on, callers=PERSON),
    Action("/console/freeze", freeze.freeze, callers=ACT),
    Action("/console/unfreeze", freeze.unfreeze, callers=ACT),
    Action("/console/passkeys/invitation", passkeys.invite, callers=PERSON),
    Action("/console/passkeys", passkeys.register, callers=PERSON),
    Action("/console/passkeys/remove", passkeys.remove, callers=PERSON),
)
