"""The blast radius: what can be had from a node, by which shortest way, and which of it nobody meant; or who can have
it. What is reached over steps that were given alone is meant; everything else takes more somewhere on every way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from remit.domain.reach import Graph, Step, onward, traced

from .catalogue_graph import KINDS
from .step_rules import GIVEN, MEANT, rule_of
from .words import kind_of

_WORST = ("aws-admin", "k8s-admin", "pg-host", "azure-vault-data", "k8s-secrets")


@dataclass(frozen=True)
class Group:
    """Nodes of one kind that are had in one way: through the last node that it was meant to reach, by that rule."""

    through: str
    kind: str
    beyond: bool
    how: str
    nodes: Sequence[str]


@dataclass(frozen=True)
class Radius:
    """From `node` outwards; with `who`, what leads to it. `found` are the nearest first, `meant` those that were."""

    graph: Graph
    node: str
    who: bool
    found: Mapping[str, Step | None]
    meant: Mapping[str, Step | None]
    others: Sequence[str] = field(init=False)
    beyond: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "others", [node for node in self.found if node != self.node])
        object.__setattr__(self, "beyond", [node for node in self.others if node not in self.meant])

    def way(self, node: str) -> Sequence[Step]:
        """A shortest way: as it was meant, if there is one like that."""
        best = self.meant if node in self.meant else self.found
        return onward(best, node) if self.who else traced(best, node)

    def rows(self, most: int) -> list[dict[str, Any]]:
        """What nobody meant first, then the nearest."""
        meant = [node for node in self.others if node in self.meant]
        return [self.row(node) for node in [*self.beyond, *meant][:most]]

    def row(self, node: str) -> dict[str, Any]:
        """One of them, with its way."""
        return {"node": node, "beyond": node not in self.meant, "way": [step._asdict() for step in self.way(node)]}

    def groups(self) -> Sequence[Group]:
        """Everything that somebody is after, and everything that nobody meant, the worst first."""
        kept: dict[tuple[str, str, bool], list[str]] = {}
        hows: dict[tuple[str, str, bool], str] = {}
        for node, through, how in self._leading() if self.who else self._ending():
            key = (through, node.partition(":")[0], node not in self.meant)
            kept.setdefault(key, []).append(node)
            hows.setdefault(key, how)
        found = [Group(*key, hows[key], nodes) for key, nodes in kept.items()]
        return sorted(found, key=lambda one: (not one.beyond, one.kind not in _WORST, -len(one.nodes), one.through))

    def _ending(self) -> list[tuple[str, str, str]]:
        """(node, where its way last was as meant, the rule by which it went on)."""
        rows: list[tuple[str, str, str]] = []
        left: dict[str, Step] = {}
        for node, step in self.found.items():
            if step is None:
                continue
            gate = left.get(step.source) or (step if step.how not in MEANT else None)
            if gate is not None:
                left[node] = gate
            given = self.meant.get(node)
            if given is not None:
                if kind_of(node).end or not self.graph.out[node]:
                    rows.append((node, given.source if given.source != self.node else "", given.how))
            elif gate is not None:
                rows.append((node, gate.source if gate.source != self.node else "", gate.how))
        return rows

    def _leading(self) -> list[tuple[str, str, str]]:
        """(node, the last one before what is asked about, the rule of that last step)."""
        rows: list[tuple[str, str, str]] = []
        last: dict[str, Step] = {}
        for node, step in self.found.items():
            if step is None:
                continue
            last[node] = end = last.get(step.target, step)
            if kind_of(node).starts:
                rows.append((node, end.source if end.source != node else "", end.how))
        return rows


def radius(graph: Graph, node: str, *, who: bool = False) -> Radius:
    """What can be had from it, or who can have it; the node must be there.

    What an agent or a person has by the catalogue nobody meant to be the power over an account. Whoever has such power
    where they are, in the account itself, was given it.
    """
    if who:
        return Radius(graph, node, True, graph.reaching([node]), graph.reaching([node], MEANT))
    by = MEANT if node.partition(":")[0] in KINDS else MEANT | GIVEN
    return Radius(graph, node, False, graph.reached([node]), graph.reached([node], by))


def cuts(found: Radius, most: int = 3) -> list[dict[str, Any]]:
    """The steps that, taken away, leave most of what nobody meant out of reach, and how each is taken away.

    `NoCuts` without rustworkx. Asked who, it is kept from most of them.
    """
    from .cuts import best_cuts

    if found.who:
        turned = Graph().add(
            Step(s.target, s.source, s.how, s.detail) for node in found.found for s in found.graph.into[node]
        )
        steps = [
            (Step(step.target, step.source, step.how, step.detail), count)
            for step, count in best_cuts(turned, [found.node], found.beyond, most, found.meant)
        ]
    else:
        steps = list(best_cuts(found.graph, [found.node], found.beyond, most, found.meant))
    return [{**step._asdict(), "cuts": count, "fix": rule_of(step.how).cut} for step, count in steps]
