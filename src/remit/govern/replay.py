"""What a candidate for the catalogue would have decided of what was decided: replayed from the log.

Whether a purpose still has the tool, its data and environment, and the time and calls, is told of every one. The log
keeps no argument and no resource. Where a policy asks for them, the answer is known only of calls that a person
was asked about, because what was shown is kept; of the others it is said that it cannot be told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import msgspec

from remit.domain import facts
from remit.domain.above import Above, Branch, Link
from remit.domain.approval import Approval
from remit.domain.decision import Decision, Deny, Reason, Why, watched, word
from remit.domain.flow import Sensitivity
from remit.domain.freeze import Frozen
from remit.domain.origin import NOTHING_TRACED
from remit.domain.purpose import Profile, Purpose
from remit.domain.task import Task
from remit.domain.tool import Tool
from remit.ports import Env, InForce, LogReader

PAGE = 1000
YIELDS = 25  # decisions between which others have their turn
SCANNED = 200_000
SHOWN = 200
_BY_POLICY = frozenset(
    reason.value
    for reason in (
        Reason.WITHIN_POLICY,
        Reason.POLICY_FORBIDS,
        Reason.POLICY_SILENT,
        Reason.POLICY_ERROR,
        Reason.NEEDS_APPROVAL,
        Reason.APPROVED,
        Reason.APPROVAL_REFUSED,
        Reason.NOBODY_ANSWERED,
        Reason.WATCHED,
    )
)


class _Decided(msgspec.Struct):
    task: str
    agent: str
    tool: str
    decision: str
    reasons: list[str]
    approval: str
    trust: str
    sensitivity: str
    origin: str
    carries: str
    calls: int = 0
    repeats: int = 0


class _Entry(msgspec.Struct):
    at: int
    data: _Decided


_parse = msgspec.json.Decoder(_Entry).decode


@dataclass(frozen=True, slots=True)
class Flip:
    """One decision that would be another. `index` is its place in the log, `was` what the policies said then, and
    `made` what was decided in the end.
    """

    index: int
    at: int
    task: str
    agent: str
    tool: str
    was: str
    would_be: str
    why: tuple[str, ...]
    made: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replay:
    """`replayed` decisions were told, of which `differ`, the newest of them in `changed`; `unknown` could not be.

    `since` is when the oldest of them was made (ms), `scanned` how many events were looked at. What was refused before
    any policy was asked (outside the scope, a spent budget) is not among them. `whole`: no older one was left out.
    """

    replayed: int
    differ: int
    unknown: int
    changed: tuple[Flip, ...]
    since: int
    scanned: int
    whole: bool


async def replay(
    env: Env, log: LogReader, candidate: InForce, *, decisions: int, since: int = 0, shown: int = SHOWN
) -> Replay:
    """Ask `candidate` again about the newest `decisions` that policies made, none of them before `since` (ms)."""
    told, unknown, oldest, at_index, flips = 0, 0, 0, 0, list[Flip]()
    size, _ = await log.head()
    whole = size <= SCANNED
    again = _Again(env, candidate)
    async for index, entry in _newest(log, size):
        at_index = index
        if entry.at < since or told + unknown >= decisions:
            whole = entry.at < since
            break
        was = _was(entry.data)
        if not was:
            continue
        oldest = entry.at
        if (told + unknown) % YIELDS == 0:
            await asyncio.sleep(0)  # decisions go first
        found = await again.verdict(entry)
        if found is None:
            unknown += 1
            continue
        told += 1
        if word(found) != was:
            why = tuple(why.sentence for why in found.why)
            data, codes = entry.data, tuple(why.reason.value for why in found.why)
            head = (index, entry.at, data.task, data.agent, data.tool)
            flips.append(Flip(*head, was, word(found), why, data.decision, codes))
    return Replay(told, len(flips), unknown, tuple(flips[:shown]), oldest, size - at_index, whole)


async def _newest(log: LogReader, size: int) -> AsyncIterator[tuple[int, _Entry]]:
    end = size
    while end > max(0, size - SCANNED):
        start = max(0, end - PAGE)
        page = await log.entries(start, end)
        await asyncio.sleep(0)
        for offset in range(len(page) - 1, -1, -1):
            if b'"type":"AccessDecided"' in page[offset]:
                yield start + offset, _parse(page[offset])
        end = start


def _was(decided: _Decided) -> str:
    """What the policies said, before anybody was asked; empty when they were not asked."""
    if not _BY_POLICY & set(decided.reasons):
        return ""
    asked = {reason.value for reason in (Reason.APPROVED, Reason.APPROVAL_REFUSED, Reason.NOBODY_ANSWERED)}
    asked &= set(decided.reasons)
    return "hold" if asked else decided.decision


class _Again:
    """One candidate, asked about many; rows are read once."""

    def __init__(self, env: Env, candidate: InForce) -> None:
        self._env = env
        self._force = candidate
        self._tasks: dict[str, Task | None] = {}

    async def verdict(self, entry: _Entry) -> Decision | None:
        """What it says now; None when it asks for what is not known."""
        decided, catalogue = entry.data, self._force.catalogue
        task = await self._task(decided.task)
        if task is None:
            return None
        tool, agent = catalogue.tools.get(decided.tool), catalogue.agents.get(task.agent)
        purpose = catalogue.purposes.get(task.purpose)
        if agent is None:
            return _gone(Reason.AGENT_UNKNOWN, f"{task.agent} is not registered.")
        if purpose is None:
            return _gone(Reason.PURPOSE_SUPERSEDED, f"There is no purpose {task.purpose}.")
        if tool is None:
            return _gone(Reason.TOOL_UNKNOWN, f"Nobody has reviewed a tool {decided.tool!r}.")
        above = await self._above(task)
        if any(k.task.agent not in catalogue.agents or k.task.purpose not in catalogue.purposes for k in above.links):
            return _gone(Reason.ANCESTOR_ENDED, "The task above this one could not be.")
        for row in (*(link.task for link in above.links), task):
            outside = _outside(row, catalogue.purposes[row.purpose], tool, entry, within=row is task)
            if outside is not None:
                return outside
        seen = above.strictest(catalogue, agent, purpose)
        shown = await self._shown(decided)
        resource = shown.shown.resource if shown else ""
        arguments = json.loads(shown.shown.arguments) if shown else {}
        made = facts.of_call(*seen, above.judged(task), tool, resource, arguments, NOTHING_TRACED, entry.at, ())
        origins = {came.argument: came.origin for came in shown.shown.origins} if shown else {}
        origins = {name: origin for name, origin in origins.items() if name in tool.decisive()}
        moment = {**made.context, **_moment(decided)}
        asked = replace(made, context=moment, origins=origins)
        bundle = self._force.bundle
        found = bundle.verdict(asked) if shown else bundle.verdict_of_any(asked)
        return watched(found) if found and moment["profile"] == Profile.WATCH.value else found

    async def _task(self, name: str) -> Task | None:
        if name not in self._tasks:
            self._tasks[name] = await self._env.store.get(Task, name)
        return self._tasks[name]

    async def _above(self, task: Task) -> Above:
        rows = [await self._task(hop.task) for hop in task.chain.hops[:-1]]
        return Above(tuple(Link(row, Branch(row.id)) for row in rows if row is not None), Frozen())

    async def _shown(self, decided: _Decided) -> Approval | None:
        return await self._env.store.get(Approval, decided.approval) if decided.approval else None


def _outside(row: Task, purpose: Purpose, tool: Tool, entry: _Entry, *, within: bool) -> Decision | None:
    """Why a task of this purpose could not have made this call, as far as that does not hang on arguments."""
    if row.agent not in purpose.agents:
        return _gone(Reason.OUT_OF_SCOPE, f"{purpose.name} may not be asked of {row.agent}.")
    if entry.at - row.opened_at >= purpose.max_duration:
        return _gone(Reason.TASK_EXPIRED, f"A task of {purpose.name} does not last that long.")
    if within and entry.data.calls >= purpose.max_calls:
        return _gone(Reason.BUDGET_SPENT, f"A task of {purpose.name} has {purpose.max_calls} calls.")
    if all(grant.tool != tool.name for grant in purpose.grants):
        return _gone(Reason.OUT_OF_SCOPE, f"{purpose.name} does not grant {tool.name}.")
    if tool.environment not in purpose.environments or tool.sensitivity > purpose.sensitivity:
        return _gone(Reason.OUT_OF_SCOPE, f"What {tool.name} reads, or where it does, is outside of {purpose.name}.")
    return None


def _gone(reason: Reason, sentence: str) -> Decision:
    return Deny((Why(reason, sentence),))


def _moment(decided: _Decided) -> dict[str, str | int]:
    """As it was then, not as the rows are now."""
    return {
        "trust": decided.trust,
        "label_sensitivity": decided.sensitivity,
        "label_rank": int(Sensitivity[decided.sensitivity.upper()]),
        "origin": decided.origin,
        "carries": decided.carries,
        "calls": decided.calls,
        "repeats": decided.repeats,
    }
