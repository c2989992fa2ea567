"""Every screen and every form of the console: data. The route table is made from it."""

from __future__ import annotations

from remit.domain.caller import CallerKind

from . import (
    agents,
    approvals,
    catalogue,
    estate,
    evidence,
    freeze,
    incident,
    leases,
    log,
    now,
    passkeys,
    playground,
    reach,
    settings,
    tasks,
)
from .page import ACT, PERSON, Action, Screen

OPERATOR = frozenset({CallerKind.OPERATOR})
READERS = frozenset({CallerKind.OPERATOR, CallerKind.AUDITOR})

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
    Screen("/console/reach", reach.read, "reach.html", "Blast radius", nav="Reach", key="r", query=reach.QUERY),
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
    Screen(
        "/console/evidence",
        evidence.read,
        "evidence.html",
        "Evidence",
        nav="Evidence",
        key="v",
        callers=READERS,
        query=evidence.QUERY,
    ),
    Screen("/console/log/verify", log.checks, "verify.html", "Check a checkpoint", callers=READERS),
    Screen("/console/log/{index}", log.one, "event.html", "Event"),
    Screen(
        "/console/incident", incident.read, "incident.html", "Incident", nav="Incident", key="i", query=("of", "depth")
    ),
    Screen("/console/settings", settings.read, "settings.html", "Settings", nav="Settings", key="s", callers=OPERATOR),
    Screen("/console/estate", estate.read, "estate.html", "Estate", callers=READERS),
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
    Action("/console/tasks/{task}/end", tasks.end, callers=ACT),
    Action("/console/playground", playground.attempt, callers=READERS),
    Action("/console/evidence", evidence.take, callers=READERS),
    Action("/console/log/verify", log.verify, callers=READERS),
    Action("/console/leases/{lease}/end", leases.end, callers=ACT),
)
