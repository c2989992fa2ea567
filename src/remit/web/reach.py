"""The graph that questions about reach are asked of: the catalogue in force and what was imported; and who sees what.

Operators and auditors see all. A person sees what can be reached from the agents and purposes that they answer for, and
from themselves as the catalogue says, which the API tells everybody. Nothing else is in their graph, so nothing else
can be said of it, not even that it is there (law 11).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from remit.discover import catalogue_graph
from remit.discover.radius import Radius, radius
from remit.domain.caller import AccessKey, Call, CallerKind
from remit.domain.catalogue import Catalogue
from remit.domain.chart import Chart, Charts
from remit.domain.errors import Absent
from remit.domain.finding import Finding, Subject
from remit.domain.lease import Lease
from remit.domain.reach import Graph
from remit.domain.task import Task
from remit.formats import chart
from remit.ports import Env

T = TypeVar("T")
AT_ONCE = 2


class Reach:
    """Graphs of what was imported, and of it with a catalogue, kept while neither changes; questions off the loop."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._turn, self._asking = asyncio.Lock(), asyncio.Semaphore(AT_ONCE)
        self._estate: tuple[object, Graph] = (None, Graph())
        self._whole: tuple[object, Graph] = (None, Graph())

    async def ask(self, question: Callable[[], T]) -> T:
        """Its answer, worked out in a thread, few at a time."""
        async with self._asking:
            return await asyncio.to_thread(question)

    async def estate(self) -> Graph:
        """What was imported."""
        return (await self._estate_of())[1]

    async def _estate_of(self) -> tuple[object, Graph]:
        held = await self._env.store.get(Charts, "charts") or Charts()
        key = tuple((one.name, one.digest) for one in held.imported)
        if self._estate[0] != key:
            rows = [await self._env.store.get(Chart, one.name) for one in held.imported]
            texts = [row.text for row in rows if row is not None and row.text]
            graph = await self.ask(lambda: Graph().add(step for text in texts for step in chart.unpack(text)))
            self._estate = (key, graph)
        return self._estate

    async def whole(self) -> tuple[Catalogue, Graph]:
        """The catalogue in force, and its steps before what was imported."""
        head, force = await self._env.in_force()
        async with self._turn:
            key, estate = await self._estate_of()
            if self._whole[0] != (head.digest, key):
                graph = await self.ask(lambda: catalogue_graph.joined(force.catalogue, estate))
                self._whole = ((head.digest, key), graph)
            return force.catalogue, self._whole[1]

    async def graph(self, call: Call) -> Graph:
        """What the caller may see of it."""
        catalogue, whole = await self.whole()
        if call.caller.kind is not CallerKind.PERSON:
            return whole
        return await self.ask(lambda: seen_by(call.caller.name, catalogue, whole))

    async def radius(self, call: Call, node: str, *, who: bool = False) -> Radius:
        """From, or to, a node that the caller may see; `Absent` for any other."""
        graph = await self.graph(call)
        if node not in graph:
            raise Absent(inside=f"node {node[:200]}")
        return await self.ask(lambda: radius(graph, node, who=who))


def seen_by(person: str, catalogue: Catalogue, whole: Graph) -> Graph:
    """What this person may see."""
    theirs = [f"agent:{one.name}" for one in catalogue.agents.values() if one.owner == person]
    theirs += [f"purpose:{one.name}" for one in catalogue.purposes.values() if one.owner == person]
    told = Graph().add(catalogue_graph.steps(catalogue))
    mine = told.within(told.reached([f"person:{person}"]))
    seen = whole.within(whole.reached(theirs))
    return seen.add(step for out in mine.out.values() for step in out if step not in seen.out.get(step.source, ()))


async def meant_by(env: Env, call: Call, text: str) -> str:
    """The node that `lease:ID` (its credential), `finding:ID` (what it is about) or `key:ID` (whose it is) is; anything
    else is one itself.
    """
    kind, _, name = text.partition(":")
    sees_all = call.caller.kind is not CallerKind.PERSON
    if kind == "lease" and sees_all:
        lease = await env.store.get(Lease, name)
        task = await env.store.get(Task, lease.task) if lease else None
        return f"credential:{task.purpose}/{lease.credential}" if lease and task else text
    if kind == "finding" and sees_all:
        found = await env.store.get(Finding, name)
        if found is not None and found.subject is Subject.TASK:
            about = await env.store.get(Task, found.name)
            return f"purpose:{about.purpose}" if about else text
        return f"{found.subject.value}:{found.name}" if found else text
    if kind == "key" and sees_all:
        key = await env.store.get(AccessKey, name)
        return f"person:{key.name}" if key and key.kind is CallerKind.PERSON else text
    return text
