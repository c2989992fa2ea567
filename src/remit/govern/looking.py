"""Where things of an incident are looked up, and as whom. No look-up grows with the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from remit.domain.catalogue import Catalogue
from remit.domain.finding import Finding
from remit.domain.task import Task, TaskState
from remit.ports import Env

from .heard import MANY, Heard, Links, tasks_of
from .incident import Node, Sight
from .search import Searched


@dataclass(frozen=True, slots=True)
class Looking:
    """One caller, now."""

    env: Env
    log: Searched
    sight: Sight
    now: int

    @property
    def heard(self) -> Heard:
        """What the log says."""
        return Heard(self.log, self.sight)

    async def catalogue(self) -> Catalogue:
        """What is in force."""
        _, force = await self.env.in_force()
        return force.catalogue

    async def frozen(self, reach: str, name: str) -> bool:
        """Whether exactly this is."""
        frozen = await self.env.frozen()
        return any((one.reach.value, one.name) == (reach, name) for one in frozen.freezes)

    def words(self, types: Iterable[str], name: str) -> list[list[str]]:
        """What its events of these types are found by, for whoever may read them."""
        return [[type_, name] for type_ in types] if self.sight.all else []

    async def tasks(self, column: str, value: str, words: Sequence[str]) -> tuple[Links, str]:
        """Its open tasks, and the newest that were ever proposed, as far as the caller may see them."""
        rows = await self.env.store.find(Task, {column: value, "state": TaskState.OPEN.value}, limit=MANY)
        links: Links = [("open task", Node("task", row.id)) for row in rows if await self.sight.task(row)]
        hits = await self.heard.hits("TaskProposed", words[0], column)
        links += [link for link in tasks_of("task", hits) if ("open task", link[1]) not in links]
        more = self.sight.all and (len(rows) == MANY or len(hits) == MANY)
        return links, f"Of {column} {value} {len(links)} tasks are here, the open and the newest." if more else ""

    async def findings(self, subject: str, name: str) -> Links:
        """What was found out about it, to whoever may read all of that."""
        if not self.sight.all:
            return []
        rows = await self.env.store.find(Finding, {"about": f"{subject} {name}"}, limit=MANY)
        return [("found out", Node("finding", row.id)) for row in rows]


def short(kind: str, name: str, hits: Sequence[object]) -> str:
    """What to say of a thing whose uses were not all followed; empty when they were."""
    return f"Of {kind} {name} only the newest {MANY} uses were followed." if len(hits) == MANY else ""
