"""What a purpose grants against what was used of it, and the narrower purpose that would have been enough.

Only ever narrower (law 2): every proposal is parsed and compared with what is in force, and a real call that it would
have refused puts back what it needs. Only permits are use, so whoever asks for much and is denied keeps nothing open;
whoever is permitted much does, for a log cannot tell a thief's permitted call from its owner's.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from remit.domain.catalogue import Catalogue, CatalogueFiles
from remit.domain.errors import StoreUnavailable
from remit.domain.purpose import Purpose
from remit.domain.task import Task
from remit.formats import catalogue as catalogue_format
from remit.formats import toml_edit
from remit.ports import Env, InForce, compiled

from .replay import SHOWN, Flip, Replay, replay
from .search import Searched, place_of, search
from .usage import Use, last_issue, last_permit, uses

DAY = 86_400_000
TASKS, DECISIONS = 5_000, 10_000
ENOUGH_TASKS, ENOUGH_DAYS = 20, 7
ROUNDS = 4
MARGIN = 2  # of calls and time: so many times what was seen


@dataclass(frozen=True, slots=True)
class Seen:
    """What there was of one purpose since `since`: tasks and by whom, the most calls and the longest time (ms) of one.

    `whole`: all of them were looked at. `blind`: some decisions are from before Remit wrote purposes down.
    """

    since: int
    tasks: int
    days: int
    agents: frozenset[str]
    calls: int
    longest: int
    whole: bool
    blind: bool
    uses: tuple[Use, ...]
    issued: frozenset[str]

    @property
    def little(self) -> str:
        """Why this is too little to narrow by; empty when it is not."""
        if self.tasks >= ENOUGH_TASKS and self.days >= ENOUGH_DAYS:
            return ""
        return f"Seen {self.tasks} tasks in {self.days} days: too little to narrow."


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What one purpose would lose. Zero and empty: stays as it is."""

    tools: frozenset[str] = frozenset()
    credentials: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    sensitivity: str = ""
    max_calls: int = 0
    max_duration: int = 0

    def __bool__(self) -> bool:
        return self != Narrowing()


@dataclass(frozen=True, slots=True)
class Proposal:
    """For one purpose: what was seen, what would go, what stays and why, and the file as it would be."""

    purpose: str
    seen: Seen
    narrowing: Narrowing
    kept: tuple[str, ...] = ()
    file: str = ""
    text: str = ""
    diff: str = ""


@dataclass(frozen=True, slots=True)
class Rightsizing:
    """Proposals, and what they would have decided. `broken` is how many of the permitted calls would have been refused
    by them: always 0, because what would break is left in. `against` is the catalogue that they change.
    """

    against: str
    proposals: tuple[Proposal, ...]
    replayed: Replay | None = None
    broken: int = 0
    files: Mapping[str, str] = field(default_factory=dict)


async def rightsize(
    env: Env, log: Searched, purposes: Sequence[str], *, now: int, days: int, force: bool = False
) -> Rightsizing:
    """Of these purposes, by the last `days`. With `force` also by little."""
    head, in_force = await env.in_force()
    files = await env.store.get(CatalogueFiles, head.digest)
    if files is None:
        raise StoreUnavailable("The catalogue in force cannot be read.")
    present, since = dict(files.files), now - days * DAY
    found = []
    for name in purposes:
        purpose = in_force.catalogue.purposes[name]
        what = await seen(env, log, purpose, since, now)
        narrowing, kept = proposed(purpose, what, in_force.catalogue, await _recent(log, purpose, what), force=force)
        found.append(Proposal(name, what, narrowing, kept))
    return await _proven(env, log, head.digest, present, found, since)


async def _recent(log: Searched, purpose: Purpose, what: Seen) -> frozenset[str]:
    """Tools that some agent was permitted lately, under whichever purpose, where the log does not say which."""
    if not what.blind:
        return frozenset()
    granted = {grant.tool for grant in purpose.grants}
    found = [(tool, await last_permit(log, agent, tool)) for agent in purpose.agents for tool in granted]
    return frozenset(tool for tool, at in found if at >= what.since)


async def seen(env: Env, log: Searched, purpose: Purpose, since: int, now: int) -> Seen:
    """What the log and the rows say of one purpose."""
    rows: list[Task] = []
    before, whole = 0, False
    while len(rows) < TASKS and not whole:
        page = await search(log, ["TaskProposed", purpose.name], before=before, limit=200, since=since)
        for _, leaf in page.entries:
            said = json.loads(leaf)["data"]
            row = await env.store.get(Task, said["task"]) if said["purpose"] == purpose.name else None
            rows += [row] if row is not None else []
        before, whole = page.next, not page.next
    begun = [row.opened_at for row in rows]
    given = {
        rule.name
        for rule in purpose.credentials
        for agent in purpose.agents
        if await last_issue(log, agent, purpose.name, rule.name) >= since
    }
    return Seen(
        since,
        len(rows),
        (max(begun) - min(begun)) // DAY if begun else 0,
        frozenset(row.agent for row in rows),
        max((row.calls + row.lent for row in rows), default=0),
        max(((row.ended_at or now) - row.opened_at for row in rows), default=0),
        whole,
        await _blind(log, since),
        await uses(log, purpose, since=since),
        frozenset(given),
    )


async def _blind(log: Searched, since: int) -> bool:
    """Whether the first decision of that time does not say its purpose."""
    size, _ = await log.head()
    start = await place_of(log, size, since)
    for at in range(start, min(size, start + 20_000), 1000):
        for leaf in await log.entries(at, min(size, at + 1000)):
            if b'"type":"AccessDecided"' in leaf:
                return not json.loads(leaf)["data"].get("purpose")
    return False


def proposed(
    purpose: Purpose, what: Seen, catalogue: Catalogue, recent: frozenset[str] = frozenset(), *, force: bool = False
) -> tuple[Narrowing, tuple[str, ...]]:
    """What it could do without, and why it keeps what it does. Pure."""
    if not what.tasks:
        return Narrowing(), ("Nobody used it: whether it is wanted at all is for whoever answers for it.",)
    if what.little and not force:
        return Narrowing(), (what.little,)
    kept: list[str] = []
    used = {use.tool for use in what.uses if use.permitted} | recent
    granted = {grant.tool for grant in purpose.grants}
    tools = frozenset(granted - used)
    credentials = frozenset(rule.name for rule in purpose.credentials) - what.issued
    if purpose.delegations:
        kept.append("It hands on, and what is below it may need any of its tools, data and environments.")
        tools = frozenset()
    if what.blind:
        kept.append("Part of this time is from before purposes were written down; what was used then stays.")
        credentials = frozenset()
    if tools and tools == granted:
        kept.append("None of its tools was permitted: it keeps all, or it would be of no use.")
        tools = frozenset()
    found = Narrowing(tools=tools, credentials=credentials)
    if not purpose.delegations:
        found = _less(purpose, found, catalogue)
    if not what.whole:
        kept.append(f"Of its tasks the newest {TASKS} were looked at, so agents, calls and time stay.")
        return found, tuple(kept)
    idle = frozenset(purpose.agents) - what.agents
    calls, lasts = max(1, MARGIN * what.calls), -(-MARGIN * what.longest // 60_000) * 60_000
    kept.append("Resources and arguments stay: the log keeps none of them.")
    return replace(
        found,
        agents=idle if what.agents & set(purpose.agents) else frozenset(),
        max_calls=calls if calls < purpose.max_calls else 0,
        max_duration=lasts if 60_000 <= lasts < purpose.max_duration else 0,
    ), tuple(kept)


def _less(purpose: Purpose, found: Narrowing, catalogue: Catalogue) -> Narrowing:
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


def written(purpose: Purpose, text: str, narrowing: Narrowing) -> str:
    """The purpose's file, with that taken out."""
    values: dict[str, Any] = {}
    if narrowing.agents:
        values["agents"] = [name for name in purpose.agents if name not in narrowing.agents]
    if narrowing.environments:
        values["environments"] = [name for name in purpose.environments if name not in narrowing.environments]
    if narrowing.sensitivity:
        values["max_sensitivity"] = narrowing.sensitivity
    if narrowing.max_calls:
        values["max_calls"] = narrowing.max_calls
    if narrowing.max_duration:
        values["max_duration"] = f"{narrowing.max_duration // 60_000}m"
    grants = {n for n, grant in enumerate(purpose.grants) if grant.tool in narrowing.tools}
    credentials = {n for n, rule in enumerate(purpose.credentials) if rule.name in narrowing.credentials}
    drop = {"grants": grants, "credentials": credentials}
    return toml_edit.edited(_file(purpose.name), text, values, {name: which for name, which in drop.items() if which})


def within(new: Purpose, old: Purpose) -> bool:
    """Whether whatever `new` permits `old` permits as well, and nothing else about them differs."""
    narrower = ("agents", "grants", "credentials", "environments")
    least = ("sensitivity", "max_calls", "max_duration")
    return (
        all(all(one in getattr(old, name) for one in getattr(new, name)) for name in narrower)
        and all(getattr(new, name) <= getattr(old, name) for name in least)
        and bool(new.agents)
        and replace(old, revision="", **{name: getattr(new, name) for name in (*narrower, *least)})
        == replace(new, revision="")
    )


async def _proven(
    env: Env, log: Searched, against: str, present: Mapping[str, str], found: Sequence[Proposal], since: int
) -> Rightsizing:
    """Replay, and put back what a real call needs, until none would have been refused."""
    old = compiled(against, tuple(sorted(present.items())))
    for _ in range(ROUNDS):
        found = [_text(one, old, present) for one in found]
        changed = {one.file: one.text for one in found if one.file}
        if not changed:
            return Rightsizing(against, tuple(found))
        files = {**present, **changed}
        candidate = compiled(catalogue_format.digest(files), tuple(sorted(files.items())))
        for name, purpose in candidate.catalogue.purposes.items():
            if not within(purpose, old.catalogue.purposes[name]):
                raise AssertionError(f"a proposal for {name} is not narrower")  # pragma: no cover - never sent
        told = await replay(env, log, candidate, decisions=DECISIONS, since=since, shown=DECISIONS)
        broken = _refused(told)
        if not broken:
            return Rightsizing(against, tuple(found), replace(told, changed=told.changed[:SHOWN]), 0, changed)
        found = [await _put_back(env, one, broken) for one in found]
    withdrawn = [replace(one, narrowing=Narrowing(), file="", text="", diff="") for one in found]
    return Rightsizing(against, tuple(withdrawn))


def _refused(told: Replay) -> list[Flip]:
    return [flip for flip in told.changed if flip.made == "permit" and flip.would_be == "deny"]


def _text(one: Proposal, old: InForce, present: Mapping[str, str]) -> Proposal:
    if not one.narrowing:
        return replace(one, file="", text="", diff="")
    file = _file(one.purpose)
    text = written(old.catalogue.purposes[one.purpose], present[file], one.narrowing)
    lines = difflib.unified_diff(
        present[file].splitlines(keepends=True), text.splitlines(keepends=True), f"a/{file}", f"b/{file}"
    )
    diff = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return replace(one, file=file, text=text, diff=diff)


async def _put_back(env: Env, one: Proposal, broken: Sequence[Flip]) -> Proposal:
    mine = [flip for flip in broken if one.purpose in await _purposes(env, flip.task)]
    needed = {flip.tool for flip in mine}
    if not mine:
        return one
    if needed & one.narrowing.tools:
        less = replace(one.narrowing, tools=one.narrowing.tools - needed, sensitivity="", environments=frozenset())
        said = f"{', '.join(sorted(needed))} stays: {len(mine)} real calls would have been refused."
        return replace(one, narrowing=less, kept=(*one.kept, said))
    agents = {flip.agent for flip in mine} & one.narrowing.agents
    if agents:
        less = replace(one.narrowing, agents=one.narrowing.agents - agents)
        said = f"{', '.join(sorted(agents))} stays: {len(mine)} real calls would have been refused."
        return replace(one, narrowing=less, kept=(*one.kept, said))
    said = f"It stays as it is: {len(mine)} real calls would have been refused ({'; '.join(mine[0].why)})"
    return replace(one, narrowing=Narrowing(), kept=(*one.kept, said))


async def _purposes(env: Env, task: str) -> set[str]:
    """Of the task, and of every task above it."""
    row = await env.store.get(Task, task)
    rows = [await env.store.get(Task, hop.task) for hop in row.chain.hops] if row else []
    return {above.purpose for above in rows if above is not None}


def _file(purpose: str) -> str:
    return f"purposes/{purpose}.toml"


def shape(found: Rightsizing) -> dict[str, Any]:
    """As JSON."""
    return {
        "against": found.against,
        "broken": found.broken,
        "replay": asdict(found.replayed) if found.replayed else None,
        "files": dict(found.files),
        "items": [_shape(one) for one in found.proposals],
    }


def _shape(one: Proposal) -> dict[str, Any]:
    narrowing = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in asdict(one.narrowing).items() if v}
    facts = {name: getattr(one.seen, name) for name in ("since", "tasks", "days", "calls", "longest", "whole")}
    return {
        "purpose": one.purpose,
        "seen": {**facts, "agents": sorted(one.seen.agents), "issued": sorted(one.seen.issued)},
        "uses": [asdict(use) for use in one.seen.uses],
        "narrowing": narrowing,
        "kept": list(one.kept),
        "file": one.file,
        "diff": one.diff,
    }
