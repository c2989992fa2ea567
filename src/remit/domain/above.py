"""Everybody above a task in its chain: what narrows it, what darkens it, and whose end is its end.

A task that was handed on is judged with all of them: its scope is the meet of theirs and its own, its label the join,
its profile the strictest. Nothing of this is stored below, so nothing below can be out of date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .caller import Call
from .catalogue import Catalogue
from .chain import effective
from .change import Change
from .decision import Reason, Why
from .events import TaskEnded
from .flow import Label
from .freeze import Frozen
from .identity import Agent, Tier
from .narrowing import Entitlement, Narrowing
from .purpose import CredentialRule, Purpose
from .scope import Scope
from .task import Task, TaskState


@dataclass(frozen=True, slots=True)
class Branch:
    """Row: whether anything below a task may live. Written when the task first hands on, and again in the commit
    that ends it; 0 until then.

    What happens below checks this row in its own commit, and not the task's, which moves with every call.
    """

    task: str
    ended_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.task

    def ended(self, now: int) -> Branch:
        """Nothing below lives from now on."""
        return replace(self, ended_at=now)


def ending(call: Call, task: Task, branch: Branch | None, how: TaskState, reason: str) -> Change:
    """The end of an open task; `branch` is its row, if it has handed on. No permit at or below it after this."""
    because = TaskEnded(task.id, task.agent, how.value, reason, task.home)
    change = Change(because, call).put(task.ended(how, call.now, reason, call.span), was=task)
    return change.put(branch.ended(call.now), was=branch) if branch else change


@dataclass(frozen=True, slots=True)
class Delegation:
    """What one task handed to one agent. `task` is the id the child will have, so it can be opened once. Times in ms;
    what is not used by `expires_at` is lost. `jkt`, unless empty, is the one key of that agent that may open it.
    """

    parent: str
    task: str
    agent: str
    purpose: str
    goal: str
    parameters: Mapping[str, str]
    duration: int
    max_calls: int
    expires_at: int
    jkt: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """One task above, as read at one instant."""

    task: Task
    branch: Branch


@dataclass(frozen=True, slots=True)
class Above:
    """The links of a chain, the first task first, and all that is frozen; no links for a task that nobody handed on.

    `narrowings` are what reviews took away from the agents of the chain, whoever acts in it included.
    """

    links: tuple[Link, ...]
    frozen: Frozen
    narrowings: tuple[Narrowing, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(link.task.id for link in self.links)

    def flaw(self, catalogue: Catalogue, now: int) -> Why | None:
        """Why nothing below may happen, if so: one of them has ended, or could not go on itself."""
        for link in self.links:
            task = link.task
            agent, purpose = catalogue.agents.get(task.agent), catalogue.purposes.get(task.purpose)
            if link.branch.ended_at or not task.open_at(now):
                return Why(Reason.ANCESTOR_ENDED, "A task above this one has ended, and this one with it.")
            if agent is None:
                return Why(Reason.AGENT_UNKNOWN, f"{task.agent}, which handed this on, is no longer registered.")
            freeze = self.frozen.of(agent, purpose)
            if freeze is not None:
                return Why(Reason.AGENT_FROZEN, f"{task.agent}, which handed this on, is frozen.")
            if purpose is None or purpose.revision != task.purpose_revision:
                return Why(Reason.PURPOSE_SUPERSEDED, f"Purpose {task.purpose}, above this task's, has changed.")
        return None

    def frost(self, agent: Agent, purpose: Purpose | None) -> Why | None:
        """Why this agent may do nothing, for this purpose, if it is frozen."""
        freeze = self.frozen.of(agent, purpose)
        if freeze is None:
            return None
        what = agent.name if freeze.name == agent.name else f"{agent.name} is stopped: {freeze.target}"
        return Why(Reason.AGENT_FROZEN, f"{what} is frozen: {freeze.reason}")

    def closed(self, environment: str) -> Why | None:
        """Why nothing may be changed there now, if it is frozen."""
        freeze = self.frozen.closed(environment)
        return Why(Reason.ENVIRONMENT_FROZEN, f"{freeze.target} is frozen: {freeze.reason}") if freeze else None

    def scope(self, task: Task) -> Scope:
        """The effective scope: never wider than any hop (law 2)."""
        return effective(tuple(self._left(one) for one in (*(link.task for link in self.links), task)))

    def _left(self, task: Task) -> Scope:
        if not self.narrowings:
            return task.scope
        found = self._narrowing(task)
        return found.scope(task.purpose, task.scope) if found else task.scope

    def _narrowing(self, task: Task) -> Narrowing | None:
        return next((one for one in self.narrowings if one.agent == task.agent), None)

    def taken(self, task: Task, tool: str) -> str:
        """Whom in the chain a review took this tool away from; empty: nobody."""
        for one in (*(link.task for link in self.links), task):
            found = self._narrowing(one)
            if found is not None and Entitlement(one.purpose, "tool", tool) in found.without:
                return one.agent
        return ""

    def withholds(self, task: Task, credential: str) -> bool:
        """Whether a review took this credential away from the task."""
        found = self._narrowing(task)
        return found is not None and found.withholds(task.purpose, credential)

    @property
    def label(self) -> Label:
        """Everything that any of them, or anything below them, has read."""
        found = Label()
        for link in self.links:
            found |= link.task.label
        return found

    def judged(self, task: Task) -> Task:
        """The task as policies see it: dark with what was read above and beside it, and with the first task's goal,
        because what an agent wrote for another agent is nobody's word (law 8).
        """
        if not self.links:
            return task
        first = self.links[0].task
        goal, parameters = first.goal, first.parameters
        return replace(task, label=task.label | self.label, uses=first.uses, goal=goal, parameters=parameters)

    def strictest(self, catalogue: Catalogue, agent: Agent, purpose: Purpose) -> tuple[Agent, Purpose]:
        """Who acts and for what, as policies see it: autonomous if anybody above is, and as careful as the most
        careful of them. `flaw` has found none.
        """
        if not self.links:
            return agent, purpose
        above = [(catalogue.agents[k.task.agent], catalogue.purposes[k.task.purpose]) for k in self.links]
        tiers = {agent.tier, *(one.tier for one, _ in above)}
        tier = Tier.AUTONOMOUS if Tier.AUTONOMOUS in tiers else agent.tier
        profiles = [p.profile.of(a.tier) for a, p in (*above, (agent, purpose))]
        profile = max(profiles, key=lambda one: one.strictness)
        return replace(agent, tier=tier), replace(purpose, profile=profile)

    def could_have(self, catalogue: Catalogue, rule: CredentialRule, task: Task) -> bool:
        """Whether each of them could have been issued exactly this credential. `flaw` has found none."""
        return all(
            any(
                rule.within(other, task.parameters, link.task.parameters) and not self.withholds(link.task, other.name)
                for other in catalogue.purposes[link.task.purpose].credentials
            )
            for link in self.links
        )

    def guard(self, change: Change) -> Change:
        """Commit only while none of them has ended, and nothing more was frozen or taken away (laws 2 and 6): whatever
        takes away writes the row of what is frozen too.
        """
        change = change.check(self.frozen)
        for link in self.links:
            change = change.check(link.branch)
        return change

    def darken(self, change: Change, label: Label, used: str = "") -> Change:
        """What was read or changed below is read and changed above, in the same commit; mostly there is nothing new."""
        for link in self.links:
            after = link.task.beneath(label, used)
            if after != link.task:
                change = change.put(after, was=link.task)
        return change
