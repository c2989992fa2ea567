"""Where things of an incident are looked up, and as whom. No look-up grows with the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from remit.domain.catalogue import Catalogue
from remit.domain.finding import Finding
from remit.domain.task import Task, TaskState
from remit.formats.record import KIND_OF
from remit.ports import Env

from .heard import MANY, Heard, Links, tasks_of
from .incident import Node, Sight
from .search import Searched

MOST = 500
OPEN = "has open"
R = TypeVar("R", bound=Any)


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

    async def rows(self, kind: type[R], where: Mapping[str, str]) -> tuple[list[R], bool]:
        """The first `MANY` that match all of it, and whether there are more. Not more than `MOST` are looked at by each
        column, since no index has two: name the one first that fewest match.
        """
        page: Sequence[R] = ()
        columns = KIND_OF[kind].columns
        for name, value in where.items():
            page = await self.env.store.find(kind, {name: value}, limit=MOST)
            if len(page) < MOST:
                break
        found = [row for row in page if all(columns[name](row) == value for name, value in where.items())]
        return found[:MANY], len(found) > MANY or len(page) == MOST

    async def tasks(self, column: str, value: str, word: str) -> tuple[Links, str]:
        """Its open tasks, and the newest that were ever proposed, as far as the caller may see them."""
        rows, more = await self.rows(Task, {"state": TaskState.OPEN.value, column: value})
        links: Links = [(OPEN, Node("task", row.id)) for row in rows if await self.sight.task(row)]
        hits = await self.heard.hits("TaskProposed", word, column)
        links += [link for link in tasks_of("had", hits) if (OPEN, link[1]) not in links]
        more = self.sight.all and (more or len(hits) == MANY)
        return links, f"Of {column} {value} {len(links)} tasks are here, some open and the newest." if more else ""

    async def findings(self, subject: str, name: str) -> Links:
        """What was found out about it, to whoever may read all of that."""
        if not self.sight.all:
            return []
        rows = await self.env.store.find(Finding, {"about": f"{subject} {name}"}, limit=MANY)
        return [("led to", Node("finding", row.id)) for row in rows]


def short(kind: str, name: str, hits: Sequence[object]) -> str:
    """What to say of a thing whose uses were not all followed; empty when they were."""
    return f"Of {kind} {name} only the newest {MANY} uses were followed." if len(hits) == MANY else ""
