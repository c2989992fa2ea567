"""Every screen and every form of the console: data. The route table is made from it."""

from __future__ import annotations

from . import now, tasks
from .page import Action, Screen

SCREENS: tuple[Screen, ...] = (
    Screen("/console", now.read, "now.html", "Now", nav="Now", key="n"),
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
)
ACTIONS: tuple[Action, ...] = ()
