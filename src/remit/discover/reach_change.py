"""What a new catalogue would change in who can reach what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from remit.domain.catalogue import Catalogue
from remit.domain.reach import Graph, Step

from . import catalogue_graph
from .radius import Radius, radius

AGENTS, NAMED = 40, 20


@dataclass(frozen=True)
class AgentChange:
    """What this agent would reach that it does not now, each with its way; and what no longer. `beyond` of what it
    would gain nobody means; that is said first.
    """

    agent: str
    gained: Sequence[dict[str, Any]]
    gains: int
    beyond: int
    lost: Sequence[str]
    losses: int


@dataclass(frozen=True)
class ReachChange:
    """`agents` as far as they were looked at, `more` that were not; `begin` and `begin_no_more`: who may begin what."""

    agents: Sequence[AgentChange] = ()
    more: int = 0
    begin: Sequence[Step] = ()
    begin_no_more: Sequence[Step] = ()


def change(old: Catalogue, new: Catalogue, estate: Graph) -> ReachChange:
    """Looks at the agents that can come to anything that changes."""
    before, after = {*catalogue_graph.own(old, estate)}, {*catalogue_graph.own(new, estate)}
    if before == after:
        return ReachChange()
    was, will = catalogue_graph.joined(old, estate), catalogue_graph.joined(new, estate)
    sources = {step.source for step in before ^ after}
    concerned = {node for graph in (was, will) for node in graph.reaching(sources) if node.startswith("agent:")}
    rows = [_agent(node, was, will) for node in sorted(concerned)[:AGENTS]]
    who = [
        sorted(one for one in some if one.how in ("may-begin", "in-group")) for some in (after - before, before - after)
    ]
    kept = [one for one in rows if one.gains or one.losses or one.beyond]
    return ReachChange(kept, max(0, len(concerned) - AGENTS), who[0][:NAMED], who[1][:NAMED])


def _agent(node: str, was: Graph, will: Graph) -> AgentChange:
    before, after = _of(was, node), _of(will, node)
    had, has = set(before.others) if before else set(), set(after.others) if after else set()
    meant = {one for one in has if after and one in after.meant}
    was_meant = {one for one in had if before and one in before.meant}
    worse = {one for one in has - meant if one not in had or one in was_meant}
    gained = [*sorted(worse), *sorted(has - had - worse)]
    rows = [after.row(one) for one in gained[:NAMED]] if after else []
    lost = sorted(had - has)
    return AgentChange(node.partition(":")[2], rows, len(gained), len(worse), lost[:NAMED], len(lost))


def _of(graph: Graph, node: str) -> Radius | None:
    return radius(graph, node) if node in graph else None
