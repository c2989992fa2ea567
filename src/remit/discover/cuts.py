"""Which one step, taken away, cuts most: by dominators, which rustworkx computes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from remit.domain.reach import Graph, Step

_AT_ONCE = 4096  # few enough that nobody collects garbage meanwhile


class NoCuts(Exception):
    """rustworkx is not installed; the message says what to do."""


def best_cuts(
    graph: Graph, starts: Collection[str], targets: Collection[str], most: int = 3, keep: Collection[str] = ()
) -> Sequence[tuple[Step, int]]:
    """The single steps whose removal keeps the starts from most of the targets, and from how many; none if none does.
    Of two that cut as much, first the one that cuts less of what is to be kept.

    A step keeps them from a target exactly if every way there goes over it. So its end dominates the target, and nobody
    comes to that end but over it, or after having been there. Several steps between two nodes are several ways.
    """
    ids, _ = graph.numbered()
    above = _dominators(graph, starts)
    nested = _nested(above)
    wanted = [ids[node] for node in targets if node not in starts and ids.get(node, -1) in above]
    below = _counted(above, nested, wanted)
    lost = _counted(above, nested, [ids[node] for node in keep if node not in starts and ids.get(node, -1) in above])
    ranked: dict[tuple[int, int], list[str]] = {}
    for node, at in ids.items():
        if below.get(at) and node not in starts:
            ranked.setdefault((-below[at], lost.get(at, 0)), []).append(node)
    found: list[tuple[Step, int]] = []
    for rank in sorted(ranked):  # few are looked at: those of the best rank that have one way in
        steps = [step for node in ranked[rank] if (step := _only(graph, ids, nested, node)) is not None]
        found += [(step, -rank[0]) for step in sorted(steps)]
        if len(found) >= most:
            break
    return found[:most]


def _dominators(graph: Graph, starts: Collection[str]) -> Mapping[int, int]:
    """Of everything that is reached the nearest node that every way to it goes over; ROOT is before all starts."""
    try:
        import rustworkx
    except ImportError as missing:
        raise NoCuts("rustworkx is not installed: pip install 'remit[scan]'") from missing
    ids, onward = graph.numbered()
    root, order = len(ids), [ids[start] for start in dict.fromkeys(starts) if start in ids]
    net: Any = rustworkx.PyDiGraph()
    net.add_nodes_from(range(root + 1))
    edges = [(root, start) for start in order]
    seen = bytearray(len(ids))
    for start in order:
        seen[start] = 1
    for node in order:  # grows while it is walked
        for target in onward[node]:
            edges.append((node, target))
            if not seen[target]:
                seen[target] = 1
                order.append(target)
        if len(edges) >= _AT_ONCE:
            net.extend_from_edge_list(edges)
            edges.clear()
    net.extend_from_edge_list(edges)
    above: dict[int, int] = rustworkx.immediate_dominators(net, root)
    return above


Nested = tuple[Mapping[int, int], Mapping[int, int]]


def _nested(above: Mapping[int, int]) -> Nested:
    """When a walk of the tree comes to each node, and the last that it comes to before it leaves it again."""
    below: dict[int, list[int]] = {}
    root = -1
    for node, parent in above.items():
        if node == parent:
            root = node
        else:
            below.setdefault(parent, []).append(node)
    first: dict[int, int] = {root: 0}
    last: dict[int, int] = {}
    path, walk = [root], [iter(below.get(root, ()))]
    while walk:
        node = next(walk[-1], -1)
        if node < 0:
            walk.pop()
            last[path.pop()] = len(first) - 1
        else:
            first[node] = len(first)
            path.append(node)
            walk.append(iter(below.get(node, ())))
    return first, last


def _counted(above: Mapping[int, int], nested: Nested, wanted: Sequence[int]) -> Mapping[int, int]:
    """How many of what is wanted each node is before, itself included."""
    counted = dict.fromkeys(wanted, 1)
    for at in reversed(nested[0]):  # children before their parents
        if at in counted and above[at] != at:
            counted[above[at]] = counted.get(above[at], 0) + counted[at]
    return counted


def _only(graph: Graph, ids: Mapping[str, int], nested: Nested, node: str) -> Step | None:
    """The one step by which it is entered, if there is one alone: who comes from below it has been there before."""
    first, last = nested
    at = ids[node]
    ways: Iterator[Step] = (
        step
        for step in graph.into[node]
        if (source := ids[step.source]) in first and not first[at] <= first[source] <= last[at]
    )
    one = next(ways, None)
    return one if next(ways, None) is None else None
