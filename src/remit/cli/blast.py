"""`remit blast`: what can be reached from an agent, a person or a leaked key, by which way, and what cuts most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from remit.domain.reach import Graph, Step

from .app import Context
from .exits import Exit, Failure

_EVERYDAY = frozenset(
    {
        "may-propose",
        "may-ask",
        "grants",
        "issues",
        "opens",
        "hands-on",
        "aws-may",
        "azure-may",
        "gcp-may",
        "pg-may",
        "pg-member",
    }
)
_SHOWN = 40


@click.command()
@click.argument("node", required=False, default="")
@click.option("--catalogue", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Catalogue files.")
@click.option(
    "--cloud", "exports", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="An export."
)
@click.option("--who", is_flag=True, help="Who can reach it, in place of what it can reach.")
@click.option("--to", "target", default="", help="Only the way there.")
@click.option("--cut", is_flag=True, help="Which one step, taken away, cuts most.")
@click.pass_obj
def blast(
    obj: Context, node: str, catalogue: Path | None, exports: tuple[Path, ...], who: bool, target: str, cut: bool
) -> None:
    """What can be had from NODE (as `agent:invoice-bot`), how, and which of it nobody meant.

    Nothing is asked: catalogue files and exports are read. Without NODE: everything one can begin from.

    \b
    Examples:
      remit blast agent:invoice-bot --catalogue . --cloud account.json
      remit blast aws-user:arn:aws:iam::123456789012:user/ci --cloud account.json --cut
      remit blast azure-vault-data:prod --cloud roles.json --cloud vaults.json --who
    """
    graph = _graph(catalogue, exports)
    if not node:
        obj.out.many([{"node": one} for one in sorted(graph.nodes())], {"NODE": "node"}, empty="Nothing is there.")
        return
    start = _named(graph, node)
    if who:
        _who(obj, graph, start)
    elif target:
        _way(obj, graph, start, _named(graph, target))
    elif cut:
        _cut(obj, graph, start)
    else:
        _reached(obj, graph, start)


def _graph(catalogue: Path | None, exports: Sequence[Path]) -> Graph:
    from remit.discover import catalogue_graph, clouds
    from remit.formats.catalogue import parse

    from .catalogue import read_folder

    graph = Graph().add(clouds.load(exports))
    if catalogue is not None:
        graph.add(catalogue_graph.steps(parse(read_folder(catalogue))))
    if not graph.out:
        raise Failure("there is nothing to look at", Exit.USAGE, next_step="Give --catalogue DIR or --cloud FILE.")
    return graph


def _named(graph: Graph, text: str) -> str:
    """The node of this name, or the only one that ends like it."""
    if text in graph:
        return text
    like = [node for node in graph.nodes() if node.endswith(text) or node.rpartition("/")[2] == text]
    if len(like) == 1:
        return like[0]
    hint = f"Did you mean {', '.join(sorted(like)[:3])}?" if like else "`remit blast` without a name lists all."
    raise Failure(f"there is no {text!r}", Exit.NOT_FOUND, next_step=hint)


def beyond(way: Sequence[Step]) -> bool:
    """Whether nobody meant it: some step of the way takes more than was given."""
    return any(step.how not in _EVERYDAY for step in way)


def _reached(obj: Context, graph: Graph, start: str) -> None:
    found = graph.reached([start])
    rows = [_row(graph, start, node) for node in found if node != start]
    rows.sort(key=lambda row: (not row["beyond"], len(row["way"]), row["node"]))
    if obj.out.as_json:
        obj.out.one({"from": start, "reached": rows})
        return
    meant = [row for row in rows if not row["beyond"]]
    more = [row for row in rows if row["beyond"]]
    lines = [f"{start} reaches {len(rows)}: {len(meant)} as meant, {len(more)} beyond.", ""]
    for title, some in (("Beyond:", more), ("As meant:", meant)):
        if some:
            lines += [title, *(f"  {_said(row['way'])}" for row in some[:_SHOWN])]
            lines += [f"  … and {len(some) - _SHOWN} more; --json has all."] if len(some) > _SHOWN else []
            lines.append("")
    obj.out.one({}, "\n".join(lines).rstrip())


def _row(graph: Graph, start: str, node: str) -> dict[str, Any]:
    way = graph.way([start], node)
    return {"node": node, "beyond": beyond(way), "way": [step._asdict() for step in way]}


def _said(way: Sequence[dict[str, Any]]) -> str:
    return " ".join([way[0]["source"], *(f"─{step['how']}→ {step['target']}" for step in way)])


def _who(obj: Context, graph: Graph, target: str) -> None:
    found = [node for node in graph.reaching(target) if node != target]
    rows: list[dict[str, Any]] = [
        {"node": node, "way": [s._asdict() for s in graph.way([node], target)]} for node in sorted(found)
    ]
    text = "\n".join([f"{len(rows)} can reach {target}.", *(f"  {_said(row['way'])}" for row in rows[:_SHOWN])])
    obj.out.one({"to": target, "who": rows}, text)


def _way(obj: Context, graph: Graph, start: str, target: str) -> None:
    way = graph.way([start], target)
    if not way:
        raise Failure(f"{start} does not reach {target}", Exit.NOT_FOUND)
    lines = [f"  {step.source}\n    {step.how}: {step.detail}\n  → {step.target}" for step in way]
    shown = {"from": start, "to": target, "beyond": beyond(way), "way": [step._asdict() for step in way]}
    obj.out.one(shown, "\n".join(lines))


def _cut(obj: Context, graph: Graph, start: str) -> None:
    from remit.discover.cuts import NoCuts, best_cuts

    targets = [node for node in graph.reached([start]) if node != start and beyond(graph.way([start], node))]
    try:
        cuts = best_cuts(graph, [start], targets)
    except NoCuts as missing:
        raise Failure(str(missing), Exit.ERROR) from missing
    rows = [{**step._asdict(), "cuts": count} for step, count in cuts]
    obj.out.many(rows, {"CUTS": "cuts", "FROM": "source", "BY": "how", "TO": "target"}, empty="Nothing is beyond.")
