"""Every screen and every form of the console: data. The route table is made from it."""

from __future__ import annotations

from remit.domain.caller import CallerKind

from . import agents, catalogue, leases, log, now, playground, settings, tasks
from .page import Action, Screen

PERSON = frozenset({CallerKind.PERSON})
OPERATOR = frozenset({CallerKind.OPERATOR})
READERS = frozenset({CallerKind.OPERATOR, CallerKind.AUDITOR})

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
    Screen("/console/tasks/{task}", tasks.one, "task.html", "Task", query=("before",)),
    Screen("/console/agents", agents.read, "agents.html", "Agents", nav="Agents", key="e", query=("q", "after")),
    Screen("/console/agents/{agent}", agents.one, "agent.html", "Agent"),
    Screen(
        "/console/leases",
        leases.read,
        "leases.html",
        "Leases",
        nav="Leases",
        key="c",
        query=("state", "issuer", "after"),
    ),
    Screen("/console/leases/{lease}", leases.one, "lease.html", "Lease"),
    Screen("/console/catalogue", catalogue.read, "catalogue.html", "Catalogue", nav="Catalogue", key="p", query=("q",)),
    Screen("/console/purposes/{purpose}", catalogue.purpose, "purpose.html", "Purpose"),
    Screen("/console/tools/{tool}", catalogue.tool, "tool.html", "Tool"),
    Screen(
        "/console/playground",
        playground.read,
        "playground.html",
        "Playground",
        callers=READERS,
        query=playground.QUERY,
    ),
    Screen(
        "/console/log",
        log.read,
        "log.html",
        "Log",
        nav="Log",
        key="l",
        callers=READERS,
        query=(*log.FILTERS, "before"),
    ),
    Screen("/console/log/verify", log.checks, "verify.html", "Check a checkpoint", callers=READERS),
    Screen("/console/log/{index}", log.one, "event.html", "Event"),
    Screen("/console/settings", settings.read, "settings.html", "Settings", nav="Settings", key="s", callers=OPERATOR),
)
ACTIONS: tuple[Action, ...] = (
    Action("/console/tasks/{task}/end", tasks.end, ("reason",), PERSON | OPERATOR),
    Action("/console/playground", playground.attempt, playground.FIELDS, READERS),
    Action("/console/log/verify", log.verify, ("checkpoint",), READERS),
    Action("/console/leases/{lease}/end", leases.end, ("reason",), PERSON | OPERATOR),
)
