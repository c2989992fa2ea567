"""Which one step, taken away, cuts most: by dominators, which rustworkx computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from remit.domain.reach import Graph, Step


class NoCuts(Exception):
    """rustworkx is not installed; the message says what to do."""


def best_cuts(
    graph: Graph, starts: Collection[str], targets: Collection[str], most: int = 3
) -> Sequence[tuple[Step, int]]:
    """The single steps whose removal keeps the starts from most of the targets, and from how many; none if none does.

    A step keeps them from a target exactly if every way there goes over it: if it dominates the target in the graph in
    which steps are nodes too. Several steps between two nodes are several ways.
    """
    try:
        import rustworkx
    except ImportError as missing:
        raise NoCuts("rustworkx is not installed: pip install 'remit[scan]'") from missing
    reached = graph.reached(starts)
    wanted = [target for target in targets if reached.get(target) is not None]
    needed = _before(graph, reached, wanted)
    net: Any = rustworkx.PyDiGraph()
    root = net.add_node(None)
    index = {node: net.add_node(node) for node in needed}
    for node in needed:
        for step in graph.out[node]:
            if step.target in index:
                between = net.add_node(step)
                net.add_edges_from_no_data([(index[node], between), (between, index[step.target])])
    net.add_edges_from_no_data([(root, index[start]) for start in starts if start in index])
    above = rustworkx.immediate_dominators(net, root)
    counted: Counter[Step] = Counter()
    for target in wanted:
        at = index[target]
        while at != root:
            at = above[at]
            if isinstance(net[at], Step):
                counted[net[at]] += 1
    return sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:most]


def _before(graph: Graph, reached: Collection[str], wanted: Sequence[str]) -> Collection[str]:
    """Every node on a way from the starts to what is wanted."""
    found = set(wanted)
    waiting = list(wanted)
    while waiting:
        for step in graph.into[waiting.pop()]:
            if step.source in reached and step.source not in found:
                found.add(step.source)
                waiting.append(step.source)
    return found
