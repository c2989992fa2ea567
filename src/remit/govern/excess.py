"""What a purpose grants beyond what its tasks were seen to need. It only ever takes away (law 2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from remit.domain.catalogue import Catalogue
from remit.domain.purpose import Purpose
from remit.domain.task import Task
from remit.ports import Env

from .search import Searched, search
from .usage import PAIRS, Unused, Use, unused, uses

DAY = 86_400_000
TASKS, PAGE = 5_000, 50
ENOUGH_TASKS, ENOUGH_DAYS = 20, 7
MARGIN = 2  # of calls and time: so many times what was seen
LEAST_CALLS, LEAST_TIME = 10, 900_000  # and never less than this


@dataclass(frozen=True, slots=True)
class Seen:
    """What there was of one purpose since `since`: tasks and by whom, the most calls and the longest time (ms) of one.

    `whole`: all of its tasks were looked at.
    """

    since: int
    tasks: int
    days: int
    agents: frozenset[str]
    calls: int
    longest: int
    whole: bool
    unused: Unused
    uses: tuple[Use, ...] = ()

    @property
    def little(self) -> str:
        """Why this is too little to narrow by; empty when it is not."""
        if self.tasks >= ENOUGH_TASKS and self.days >= ENOUGH_DAYS:
            return ""
        return (
            f"Seen {_counted(self.tasks, 'task')} in {_counted(self.days, 'day')}: too little to narrow by. It takes "
            f"{ENOUGH_TASKS} tasks in {ENOUGH_DAYS} days."
        )


def _counted(number: int, of: str) -> str:
    return f"{number:,} {of}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Excess:
    """What one purpose could lose; `max_duration` in ms. Zero and empty: stays as it is."""

    tools: frozenset[str] = frozenset()
    credentials: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    sensitivity: str = ""
    max_calls: int = 0
    max_duration: int = 0

    def __bool__(self) -> bool:
        return self != Excess()

    def without(self, *names: str) -> Excess:
        """The same, but that these stay."""
        return Excess(**{one.name: getattr(self, one.name) for one in fields(self) if one.name not in names})


async def seen(env: Env, log: Searched, purpose: Purpose, since: int, now: int) -> Seen:
    """What the log and the rows say of one purpose."""
    rows: list[Task] = []
    before, whole = 0, False
    while len(rows) < TASKS and not whole:
        page = await search(log, ["TaskProposed", purpose.name], before=before, limit=PAGE, since=since)
        said = [json.loads(leaf)["data"] for _, leaf in page.entries]
        found = [await env.store.get(Task, one["task"]) for one in said if one["purpose"] == purpose.name]
        rows += [row for row in found if row is not None]
        before, whole = page.next, not page.next
        await asyncio.sleep(0)  # decisions go first
    many = len(purpose.agents) * len({grant.tool for grant in purpose.grants}) > PAIRS
    counts = () if many else await uses(log, purpose, since=since)
    begun = [row.opened_at for row in rows]
    return Seen(
        since,
        len(rows),
        (max(begun) - min(begun)) // DAY if begun else 0,
        frozenset(row.agent for row in rows) | frozenset(use.agent for use in counts if use.permitted),
        max((row.calls + row.lent for row in rows), default=0),
        max(((row.ended_at or now) - row.opened_at for row in rows), default=0),
        whole and not many,
        await unused(log, purpose, since=since),
        counts,
    )


def excess(
    purpose: Purpose, what: Seen, catalogue: Catalogue, *, force: bool = False
) -> tuple[Excess, tuple[str, ...]]:
    """What it could do without, and why it keeps what it does. `force`: also by little."""
    if not what.tasks:
        return Excess(), ("Nobody used it: whether it is wanted at all is for whoever answers for it.",)
    if what.little and not force:
        return Excess(), (what.little,)
    kept = ["Resources and arguments stay: the log keeps none of them."]
    granted = frozenset(grant.tool for grant in purpose.grants)
    tools = what.unused.tools & granted
    credentials = what.unused.credentials & {rule.name for rule in purpose.credentials}
    if what.unused.blind:
        kept.append("Part of this time is from before purposes were written down; what was used then stays.")
    if purpose.delegations:
        kept.append("It hands on, and what is below it may need any of its tools, credentials, data and environments.")
        tools = credentials = frozenset()
    elif tools and tools == granted:
        kept.append("None of its tools was permitted: it keeps all, or it would be of no use.")
        tools = frozenset()
    found = Excess(tools=tools, credentials=credentials)
    found = found if purpose.delegations else _unneeded(purpose, found, catalogue)
    if not what.whole:
        kept.append(f"It has more than {TASKS:,} tasks or {PAIRS:,} agents' tools, so agents, calls and time stay.")
        return found, tuple(kept)
    return _limits(purpose, found, what), tuple(kept)


def _unneeded(purpose: Purpose, found: Excess, catalogue: Catalogue) -> Excess:
    """Data and environments that nothing needs which is left."""
    tools = [catalogue.tools[g.tool] for g in purpose.grants if g.tool in catalogue.tools and g.tool not in found.tools]
    rules = [rule for rule in purpose.credentials if rule.name not in found.credentials]
    needs = [*(tool.sensitivity for tool in tools), *(rule.sensitivity for rule in rules)]
    places = {*(tool.environment for tool in tools), *(rule.environment for rule in rules)}
    most = max(needs, default=purpose.sensitivity)
    idle = frozenset(purpose.environments) - places
    return replace(
        found,
        sensitivity=most.word if most < purpose.sensitivity else "",
        environments=idle if len(idle) < len(set(purpose.environments)) else frozenset(),
    )


def _limits(purpose: Purpose, found: Excess, what: Seen) -> Excess:
    calls = max(LEAST_CALLS, MARGIN * what.calls)
    lasts = max(LEAST_TIME, -(-MARGIN * what.longest // 60_000) * 60_000)
    return replace(
        found,
        agents=frozenset(purpose.agents) - what.agents if what.agents & set(purpose.agents) else frozenset(),
        max_calls=calls if calls < purpose.max_calls else 0,
        max_duration=lasts if lasts < purpose.max_duration else 0,
    )


def within(new: Purpose, old: Purpose) -> bool:
    """Whether whatever `new` permits `old` permits as well, and nothing else about them differs."""
    lists, limits = ("agents", "grants", "credentials", "environments"), ("sensitivity", "max_calls", "max_duration")
    less: Mapping[str, object] = {name: getattr(new, name) for name in (*lists, *limits)}
    return (
        all(all(one in getattr(old, name) for one in getattr(new, name)) for name in lists)
        and all(getattr(new, name) <= getattr(old, name) for name in limits)
        and bool(new.agents)
        and replace(old, revision="", **less) == replace(new, revision="")  # type: ignore[arg-type]
    )
