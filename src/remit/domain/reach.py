"""Who can reach what: one graph of everything that acts, holds, opens or is read, and questions about it.

A step says that whoever has its source can have its target, and by which rule. Nothing else is known of either, so
people, agents, tools, cloud roles and database tables are in one graph.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias


class Step(NamedTuple):
    """Whoever has `source` can have `target`; `how` is the rule's id, `detail` what it needs. Nodes are `kind:name`."""

    source: str
    target: str
    how: str
    detail: str = ""


Numbered: TypeAlias = tuple[Mapping[str, int], Sequence[Sequence[int]]]


@dataclass
class Graph:
    """Steps by where they begin; two nodes may be joined in several ways."""

    out: dict[str, list[Step]] = field(default_factory=dict)
    into: dict[str, list[Step]] = field(default_factory=dict)
    _numbered: Numbered | None = None

    def add(self, steps: Iterable[Step]) -> Graph:
        """Take these in; a step from a node to itself says nothing."""
        self._numbered = None
        for step in steps:
            if step.source != step.target:
                self.out.setdefault(step.source, []).append(step)
                self.into.setdefault(step.target, []).append(step)
                self.out.setdefault(step.target, [])
                self.into.setdefault(step.source, [])
        return self

    def __contains__(self, node: str) -> bool:
        return node in self.out

    def nodes(self, kind: str = "") -> Iterator[str]:
        """All of them, or those of one kind."""
        return (node for node in self.out if not kind or node.startswith(f"{kind}:"))

    def numbered(self) -> Numbered:
        """Nodes by number, and where their steps lead: once for a graph that is asked often."""
        if self._numbered is None:
            ids = {node: number for number, node in enumerate(self.out)}
            self._numbered = ids, [[ids[step.target] for step in steps] for steps in self.out.values()]
        return self._numbered

    def reached(self, starts: Collection[str], by: Collection[str] = ()) -> Mapping[str, Step | None]:
        """Everything that can be had from these, each with the last step of a shortest way; None for the starts.

        With `by`, only over steps by one of these rules.
        """
        return _spread(starts, self.out, 1, by)

    def reaching(self, targets: Collection[str], by: Collection[str] = ()) -> Mapping[str, Step | None]:
        """Everything from which one of these can be had, each with the first step of a shortest way; None for these."""
        return _spread(targets, self.into, 0, by)

    def way(self, starts: Collection[str], target: str) -> Sequence[Step]:
        """A shortest way there; empty when there is none, or nothing to go."""
        return traced(self.reached(starts), target)

    def within(self, nodes: Collection[str]) -> Graph:
        """What is between these nodes, and they themselves."""
        kept = Graph({node: [] for node in nodes if node in self.out}, {node: [] for node in nodes if node in self.out})
        return kept.add(step for node in kept.out for step in tuple(self.out[node]) if step.target in kept.out)

    def without(self, step: Step) -> Graph:
        """The same without every step between these two by that rule."""
        gone = step[:3]
        return Graph().add(one for steps in self.out.values() for one in steps if one[:3] != gone)


def _spread(
    starts: Collection[str], steps: Mapping[str, Sequence[Step]], end: int, by: Collection[str]
) -> Mapping[str, Step | None]:
    """Breadth first; `end` is which end of a step is the far one."""
    found: dict[str, Step | None] = dict.fromkeys(start for start in starts if start in steps)
    waiting = deque(found)
    while waiting:
        for step in steps[waiting.popleft()]:
            node = step[end]
            if node not in found and (not by or step[2] in by):
                found[node] = step
                waiting.append(node)
    return found


def traced(reached: Mapping[str, Step | None], target: str) -> Sequence[Step]:
    """The way to one of what was `reached`; empty when there is none, or nothing to go."""
    way: list[Step] = []
    step = reached.get(target)
    while step is not None:
        way.append(step)
        step = reached[step.source]
    return way[::-1]


def onward(reaching: Mapping[str, Step | None], source: str) -> Sequence[Step]:
    """The way from one of what is `reaching` something, there."""
    way: list[Step] = []
    step = reaching.get(source)
    while step is not None:
        way.append(step)
        step = reaching[step.target]
    return way
