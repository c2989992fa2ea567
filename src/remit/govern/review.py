"""What somebody is shown who reviews an agent: what it may do, what it did, and what it never used, by the log.

The same place of the log and the same catalogue give the same bytes, so an answer can be bound to them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from remit.domain.catalogue import CatalogueHead
from remit.domain.chain import PrincipalKind
from remit.domain.errors import BadField, Busy
from remit.domain.finding import Finding, FindingState, Subject
from remit.domain.identity import Agent
from remit.domain.narrowing import Entitlement
from remit.domain.review import Review, granted
from remit.formats.jcs import canonical, digest_of
from remit.formats.log_words import used
from remit.ports import Env, InForce

from .search import TAIL, Searched, place_of, search
from .usage import last_issue, unused, uses

CHANGES, PEOPLE, HELD, TASKS, AT_ONCE = 50, 20, 20, 200, 50


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
    def unused(self) -> tuple[Entitlement, ...]:
        """What it may do and never did."""
        items = [one for one in self.facts["may"] if one["unused"]]
        return tuple(Entitlement(one["purpose"], one["kind"], one["name"]) for one in items)


async def shown(env: Env, log: Searched, review: Review, upto: int = 0) -> Shown | None:
    """What there is to be seen now, or was when the log was that long; None when the agent is no longer there.

    `BadField` for a place from before the review was opened, `Busy` while the log's index is too far behind to tell
    that something was never used.
    """
    head, force = await env.in_force()
    agent = force.catalogue.agents.get(review.agent)
    if agent is None:
        return None
    size, _ = await log.head()
    if size - await log.indexed() > TAIL:
        raise Busy("The log is being indexed.", next_step="Try again in a while.")
    if upto and not await place_of(log, size, review.opened_at) <= upto <= size:
        raise BadField("upto", "is not a place of the log since this review was opened", next_step="Look again.")
    facts = await _Look(env, log, review, agent, force, upto or size).facts(head)
    return Shown(canonical(facts).decode(), upto or size)


@dataclass(frozen=True, slots=True)
class _Look:
    env: Env
    log: Searched
    review: Review
    agent: Agent
    force: InForce
    upto: int

    async def facts(self, head: CatalogueHead) -> dict[str, Any]:
        tasks, whole = await self._tasks()
        people = Counter(who for who in tasks if who.startswith(f"{PrincipalKind.PERSON.value}:"))
        narrowing = await self.env.narrowing(self.agent.name)
        return {
            "agent": self.agent.name,
            "round": self.review.round,
            "owner": await self.env.answers_for(self.agent),
            "tier": self.agent.tier.value,
            "since": self.review.since,
            "upto": self.upto,
            "catalogue": head.digest,
            "may": await self._may(),
            "tasks": len(tasks),
            "more_tasks": not whole,
            "began": {name.partition(":")[2]: count for name, count in sorted(people.most_common(PEOPLE))},
            "holds": await self._holds(),
            "findings": await self._findings(),
            "changes": await self._changes(),
            "without": [asdict(held) for held in narrowing.without],
        }

    async def _may(self) -> list[dict[str, Any]]:
        """What it may do and have, how often it did, and whether it could do without it."""
        found = []
        for purpose in self.force.catalogue.purposes.values():
            if self.agent.name not in purpose.agents:
                continue
            log, since, upto = self.log, self.review.since, self.upto
            of_tools = await uses(log, purpose, agents=(self.agent.name,), since=since, upto=upto)
            idle = await unused(log, purpose, agents=(self.agent.name,), since=since, upto=upto)
            never = {"tool": idle.tools, "credential": idle.credentials}
            counted = {use.tool: use for use in of_tools}
            for held in granted(self.agent, [purpose]):
                use, last = counted.get(held.name) if held.kind == "tool" else None, 0
                if held.kind == "credential":
                    last = await last_issue(log, self.agent.name, purpose.name, held.name, upto=upto)
                    last = last if last >= since else 0
                counts = {"permit": use.permitted, "hold": use.held, "deny": use.denied} if use else {}
                at = use.last_permit if use else last
                spare = not purpose.delegations and held.name in never[held.kind]  # what is below it may use the rest
                found.append({**asdict(held), **counts, "last_at": at, "unused": spare})
        return sorted(found, key=lambda one: (one["purpose"], one["kind"], one["name"]))

    async def _tasks(self) -> tuple[list[str], bool]:
        """Who began each of its newest tasks, and whether these are all."""
        found: list[str] = []
        before = self.upto
        while before and len(found) < TASKS:
            wanted = ["TaskProposed", self.agent.name]
            await asyncio.sleep(0)
            page = await search(self.log, wanted, before=before, limit=AT_ONCE, since=self.review.since)
            said = [json.loads(leaf)["data"] for _, leaf in page.entries]
            found += [one["initiator"] for one in said if one["agent"] == self.agent.name]
            before = page.next
        return found, not before

    async def _holds(self) -> list[dict[str, Any]]:
        """What people were asked about it, the newest first, and what they said."""
        found: dict[str, dict[str, Any]] = {}
        wanted = [used(self.agent.name), "hold"]
        await asyncio.sleep(0)
        page = await search(self.log, wanted, before=self.upto, limit=AT_ONCE, since=self.review.since)
        for _, leaf in page.entries:
            said, name = json.loads(leaf), json.loads(leaf)["data"].get("approval", "")
            if name and name not in found and len(found) < HELD:
                found[name] = {"at": said["at"], "tool": said["data"]["tool"], "answers": await self._answers(name)}
        return list(found.values())

    async def _answers(self, approval: str) -> list[dict[str, Any]]:
        page = await search(self.log, ["ApprovalAnswered", approval], before=self.upto, limit=PEOPLE)
        said = [json.loads(leaf)["data"] for _, leaf in page.entries]
        return [{"person": one["person"], "yes": one["yes"]} for one in said if one["approval"] == approval]

    async def _findings(self) -> list[dict[str, str]]:
        wanted = {"about": f"{Subject.AGENT.value} {self.agent.name}"}
        rows = await self.env.store.find(Finding, wanted, limit=CHANGES)
        return [{"severity": row.severity.word, "title": row.title} for row in rows if row.state is FindingState.OPEN]

    async def _changes(self) -> list[dict[str, Any]]:
        """What the catalogue changed of it, the newest first."""
        purposes = {p.name for p in self.force.catalogue.purposes.values() if self.agent.name in p.agents}
        names = {f"agent {self.agent.name}", *(f"purpose {name}" for name in purposes)}
        page = await search(self.log, ["CatalogueApplied"], before=self.upto, limit=CHANGES, since=self.review.since)
        found = []
        for _, leaf in page.entries:
            entry = json.loads(leaf)
            lines = [line for line in entry["data"]["summary"] if line[2:].partition(":")[0] in names]
            if lines:
                found.append({"at": entry["at"], "by": entry["by"], "lines": lines})
        return found
