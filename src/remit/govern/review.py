"""What somebody is shown who reviews an agent: what it may do, what it did, and what it never used, by the log.

The same place of the log and the same catalogue give the same bytes, so an answer can be bound to them.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from remit.domain.catalogue import CatalogueHead
from remit.domain.chain import PrincipalKind
from remit.domain.finding import Finding, FindingState, Subject
from remit.domain.identity import Agent
from remit.domain.narrowing import Held
from remit.domain.review import Review, granted
from remit.domain.task import Task
from remit.formats.jcs import canonical, digest_of
from remit.ports import Env, InForce

from .search import Searched, search
from .usage import calls, last_permit

CHANGES, PEOPLE = 50, 20


@dataclass(frozen=True, slots=True)
class Shown:
    """`covers` is what is shown, in canonical JSON; `upto` is the place in the log up to which it is."""

    covers: str
    upto: int

    @property
    def digest(self) -> str:
        """What an answer names."""
        return digest_of(self.covers.encode())

    @property
    def facts(self) -> dict[str, Any]:
        """What is shown."""
        found: dict[str, Any] = json.loads(self.covers)
        return found

    @property
    def unused(self) -> tuple[Held, ...]:
        """What it may do and never did."""
        items = [one for one in self.facts["may"] if one["unused"]]
        return tuple(Held(one["purpose"], one["kind"], one["name"]) for one in items)


async def shown(env: Env, log: Searched, review: Review, upto: int = 0) -> Shown | None:
    """What there is to be seen now, or was when the log was that long; None when the agent is no longer there."""
    head, force = await env.in_force()
    agent = force.catalogue.agents.get(review.agent)
    if agent is None:
        return None
    size, _ = await log.head()
    place = min(upto, size) if upto else size
    facts = await _facts(env, log, review, head, force, agent, place)
    return Shown(canonical(facts).decode(), place)


async def _facts(
    env: Env, log: Searched, review: Review, head: CatalogueHead, force: InForce, agent: Agent, upto: int
) -> dict[str, Any]:
    used: Counter[tuple[str, str, str, str]] = Counter()
    last: dict[tuple[str, str, str], int] = {}
    by_tool: set[str] = set()
    began: Counter[str] = Counter()
    tasks: dict[str, Task | None] = {}
    done = await calls(log, agent.name, review.since, upto)
    for entry in done.entries:
        data = entry["data"]
        kind, name = ("tool", data["tool"]) if entry["type"] == "AccessDecided" else ("credential", data["credential"])
        if data["task"] not in tasks:
            tasks[data["task"]] = task = await env.store.get(Task, data["task"])
            if task is not None and task.initiator.kind is PrincipalKind.PERSON:
                began[task.initiator.name] += 1
        known = tasks[data["task"]]
        at = (known.purpose if known else "", kind, str(name))
        said = str(data.get("decision", "permit"))
        used[(*at, said)] += 1
        if said == "permit":
            last[at] = max(last.get(at, 0), int(entry["at"]))
            by_tool.add(str(name))
    may = []
    for held in granted(agent, force.catalogue.purposes.values()):
        at = (held.purpose, held.kind, held.name)
        unused = at not in last
        if unused and done.more and held.kind == "tool":  # older than what was looked at
            unused = await last_permit(log, agent.name, held.name) < review.since
        unused = unused and not (done.more and held.kind == "credential")
        counts = {word: used[(*at, word)] for word in ("permit", "hold", "deny")}
        may.append({**asdict(held), **counts, "last_at": last.get(at, 0), "unused": unused})
    narrowing = await env.narrowing(agent.name)
    return {
        "agent": agent.name,
        "round": review.round,
        "owner": agent.owner,
        "tier": agent.tier.value,
        "since": review.since,
        "upto": upto,
        "catalogue": head.digest,
        "may": may,
        "looked_at": len(done.entries),
        "more": done.more,
        "began": dict(sorted(began.most_common(PEOPLE))),
        "findings": await _findings(env, agent.name),
        "changes": await _changes(log, agent, force, review.since, upto),
        "without": [asdict(held) for held in narrowing.without],
    }


async def _findings(env: Env, agent: str) -> list[dict[str, str]]:
    rows = await env.store.find(Finding, {"about": f"{Subject.AGENT.value} {agent}"}, limit=CHANGES)
    return [{"severity": row.severity.word, "title": row.title} for row in rows if row.state is FindingState.OPEN]


async def _changes(log: Searched, agent: Agent, force: InForce, since: int, upto: int) -> list[dict[str, Any]]:
    """What the catalogue changed of it, the newest first."""
    purposes = {p.name for p in force.catalogue.purposes.values() if agent.name in p.agents}
    names = {f"agent {agent.name}", *(f"purpose {name}" for name in purposes)}
    found = []
    for _, leaf in (await search(log, ["CatalogueApplied"], before=upto, limit=CHANGES, since=since)).entries:
        entry = json.loads(leaf)
        lines = [line for line in entry["data"]["summary"] if line[2:].partition(":")[0] in names]
        if lines:
            found.append({"at": entry["at"], "by": entry["by"], "lines": lines})
    return found
