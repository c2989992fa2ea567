"""The narrower catalogue that would have been enough, proven by deciding real calls again.

A proposal is parsed and compared with what is in force, so it can only be narrower (law 2), and a real call that it
would have refused puts back what it needs. Only permits are use, so whoever asks for much and is denied keeps nothing
open; whoever is permitted much does, for a log cannot tell a thief's permitted call from its owner's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from remit.domain.catalogue import CatalogueFiles
from remit.domain.decision import Reason
from remit.domain.errors import BadCatalogue, StoreUnavailable
from remit.domain.task import Task
from remit.formats import catalogue as catalogue_format
from remit.ports import Env, InForce, compiled

from .excess import Excess, Seen, excess, seen, within
from .replay import SHOWN, Flip, Replay, replay
from .search import Searched
from .without import diff, file_of, without

DECISIONS = 10_000
ROUNDS = 8
WORSE = ("permit", "hold", "deny")
# What a call lacked that was refused for this reason, where it was no tool and no agent.
LACKED: Mapping[str, tuple[str, ...]] = {
    Reason.TASK_EXPIRED.value: ("max_duration",),
    Reason.BUDGET_SPENT.value: ("max_calls",),
    Reason.OUT_OF_SCOPE.value: ("sensitivity", "environments"),
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """For one purpose: what was seen, what would go, why the rest stays, and the file as it would be."""

    purpose: str
    seen: Seen
    excess: Excess
    kept: tuple[str, ...] = ()
    file: str = ""
    text: str = ""
    diff: str = ""


@dataclass(frozen=True, slots=True)
class Rightsizing:
    """Proposals against the catalogue of digest `against`, and the replay that they have passed.

    `broken` is how many of the calls that happened they would have stopped; `already` how many what is in force would
    stop itself, which is no loss.
    """

    against: str
    proposals: tuple[Proposal, ...]
    replayed: Replay | None = None
    broken: int = 0
    already: int = 0

    @property
    def files(self) -> Mapping[str, str]:
        """The catalogue's files that would change, as they would be."""
        return {one.file: one.text for one in self.proposals if one.file}


async def rightsize(
    env: Env, log: Searched, purposes: Sequence[str], *, now: int, days: int, force: bool = False
) -> Rightsizing:
    """Of these purposes, by the last `days`. With `force` also by little."""
    head, in_force = await env.in_force()
    files = await env.store.get(CatalogueFiles, head.digest)
    if files is None:
        raise StoreUnavailable("The catalogue in force cannot be read.", inside=head.digest)
    since, found = now - days * 86_400_000, list[Proposal]()
    for name in purposes:
        purpose = in_force.catalogue.purposes[name]
        what = await seen(env, log, purpose, since, now)
        found.append(Proposal(name, what, *excess(purpose, what, in_force.catalogue, force=force)))
    return await _Proof(env, log, in_force, dict(files.files), since).of(found)


@dataclass
class _Proof:
    """One catalogue, and what was decided under it since some instant."""

    env: Env
    log: Searched
    old: InForce
    files: Mapping[str, str]
    since: int
    lost: frozenset[int] | None = field(default=None, init=False)

    async def of(self, found: Sequence[Proposal]) -> Rightsizing:
        """Put back what a call that happened needs, until none would have been stopped."""
        for _ in range(ROUNDS):
            found = [self._text(one) for one in found]
            made = Rightsizing(self.old.digest, tuple(found))
            if not made.files:
                return made
            try:
                candidate = self._candidate(made.files)
            except BadCatalogue as bad:  # each by itself is good, and all of them together are not
                found = [_safer(one, bad) for one in found]
                continue
            told = await self._replay(candidate)
            losses = _losses(told)
            broken = [flip for flip in losses if flip.index not in await self._already()] if losses else []
            if not broken:
                shown = replace(told, changed=told.changed[:SHOWN])
                return replace(made, replayed=shown, broken=len(broken), already=len(losses))
            found = [await self._put_back(one, broken) for one in found]
        said = "What real calls need could not be worked out, so all of it stays."
        return Rightsizing(self.old.digest, tuple(_withdrawn(one, said) for one in found))

    def _text(self, one: Proposal) -> Proposal:
        bare = replace(one, file="", text="", diff="")
        if not one.excess:
            return bare
        file, purpose = file_of(one.purpose), self.old.catalogue.purposes[one.purpose]
        try:
            text = without(purpose, self.files[file], one.excess)
            new = self._candidate({file: text}).catalogue.purposes[one.purpose]
        except BadCatalogue as bad:
            return self._text(_safer(one, bad))
        if not within(new, purpose):
            raise AssertionError(f"a proposal for {one.purpose} is not narrower")  # pragma: no cover - never sent
        return replace(bare, file=file, text=text, diff=diff(file, self.files[file], text))

    def _candidate(self, changed: Mapping[str, str]) -> InForce:
        files = {**self.files, **changed}
        return compiled(catalogue_format.digest(files), tuple(sorted(files.items())))

    async def _replay(self, candidate: InForce) -> Replay:
        return await replay(self.env, self.log, candidate, decisions=DECISIONS, since=self.since, shown=DECISIONS)

    async def _already(self) -> frozenset[int]:
        """Calls that what is in force would stop as well; a later call than was looked at is none of them."""
        if self.lost is None:
            self.lost = frozenset(flip.index for flip in _losses(await self._replay(self.old)))
        return self.lost

    async def _put_back(self, one: Proposal, broken: Sequence[Flip]) -> Proposal:
        """What these calls lacked of this purpose."""
        chains = [(flip, await self._chain(flip.task)) for flip in broken]
        mine = [(flip, chain) for flip, chain in chains if any(row.purpose == one.purpose for row in chain)]
        if not mine or not one.excess:
            return one
        tools = {flip.tool for flip, _ in mine} & one.excess.tools
        agents = {row.agent for _, chain in mine for row in chain if row.purpose == one.purpose} & one.excess.agents
        less = replace(one.excess, tools=one.excess.tools - tools, agents=one.excess.agents - agents)
        lacked = {name for flip, _ in mine for code in flip.reasons for name in LACKED.get(code, ())}
        less = less.without(*lacked)
        count = f"without, {len(mine):,} real call{'' if len(mine) == 1 else 's'} would have been stopped"
        if less == one.excess:
            return _withdrawn(one, f"All of it stays: {count}. {' '.join(mine[0][0].why)}")
        names = {*tools, *agents, *(name for name in lacked if getattr(one.excess, name))}
        said = f"{', '.join(sorted(names))} stay{'s' if len(names) == 1 else ''}: {count}."
        return replace(one, excess=less, kept=(*one.kept, said))

    async def _chain(self, task: str) -> list[Task]:
        """The task, and every task above it."""
        row = await self.env.store.get(Task, task)
        rows = [await self.env.store.get(Task, hop.task) for hop in row.chain.hops] if row else []
        return [one for one in rows if one is not None]


def _losses(told: Replay) -> list[Flip]:
    """What happened, and would not have, or only after somebody else's yes."""
    return [
        flip for flip in told.changed if flip.made == "permit" and WORSE.index(flip.would_be) > WORSE.index(flip.was)
    ]


def _safer(one: Proposal, bad: BadCatalogue) -> Proposal:
    """Without what other files may name: a hand-off its agents, a server's tool its credential."""
    less = one.excess.without("agents", "credentials", "environments", "sensitivity")
    if less == one.excess:
        return _withdrawn(one, f"All of it stays: {bad}.") if one.excess else one
    return replace(one, excess=less, kept=(*one.kept, f"Agents, credentials, data and environments stay: {bad}."))


def _withdrawn(one: Proposal, said: str) -> Proposal:
    return replace(one, excess=Excess(), kept=(*one.kept, said), file="", text="", diff="")
