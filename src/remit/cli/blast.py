"""`remit blast`: what can be reached from an agent, a person or a leaked key, by which way, and what cuts most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .output import ago

if TYPE_CHECKING:
    from remit.discover.radius import Radius
    from remit.domain.reach import Graph

_SHOWN = 40
EXPORT = click.Path(exists=True, dir_okay=False, path_type=Path)


class Asking(click.Group):
    """What is no command of it is what `show` is asked."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        known = bool(args) and (args[0] in self.commands or args[0] in ("--help", "-h"))
        return super().parse_args(ctx, args if known else ["show", *args])


@click.group(cls=Asking)
def blast() -> None:
    """What can be had from a node (as `agent:invoice-bot`), how, and which of it nobody meant.

    \b
    Examples:
      remit blast agent:invoice-bot
      remit blast import account.json --name production
      remit blast agent:invoice-bot --catalogue . --cloud account.json
      remit blast aws-key:AKIAIOSFODNN7EXAMPLE --cloud account.json --cloud keys.json --cut
      remit blast azure-vault-data:prod --cloud roles.json --cloud vaults.json --who
    """


@blast.command()
@click.argument("node", required=False, default="")
@click.option("--catalogue", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Catalogue files.")
@click.option("--cloud", "exports", multiple=True, type=EXPORT, help="An export.")
@click.option("--who", is_flag=True, help="Who can reach it, in place of what it can reach.")
@click.option("--to", "target", default="", help="Only the way there.")
@click.option("--cut", is_flag=True, help="Which one step, taken away, cuts most.")
@click.pass_obj
def show(
    obj: Context, node: str, catalogue: Path | None, exports: tuple[Path, ...], who: bool, target: str, cut: bool
) -> None:
    """What can be had from NODE. Without NODE: everything one can begin from.

    With --catalogue or --cloud these files are read and nobody is asked; otherwise the server is, which knows the
    catalogue in force and what was imported.
    """
    asked = _Files(catalogue, exports) if catalogue or exports else _Server(obj)
    if not node:
        obj.out.many([{"node": one} for one in asked.nodes()], {"NODE": "node"}, empty="Nothing is there.")
        return
    if target:
        _way(obj, asked.way(node, target, who))
        return
    answer = asked.radius(node, who, cut)
    if cut:
        rows = answer["cuts"]
        obj.out.many(
            rows,
            {"CUTS": "cuts", "FROM": "source", "BY": "how", "TO": "target"},
            empty="Nothing is beyond, or no one step cuts it.",
        )
    else:
        obj.out.one(answer, _text(answer))


@blast.command("import")
@click.argument("files", nargs=-1, required=True, type=EXPORT)
@click.option("--name", default="", help="What it is kept as; default: the first file's name.")
@click.option("--dry-run", is_flag=True, help="Only say how much it is.")
@click.pass_obj
def import_(obj: Context, files: tuple[Path, ...], name: str, dry_run: bool) -> None:
    """Have the server know what these exports say, in place of what has this name there.

    The files stay here: they are read on this machine, and only their steps are sent.
    """
    import msgspec

    from remit.discover import clouds
    from remit.formats.chart import pack

    packed = pack(clouds.load(files))
    called = name or files[0].stem.lower().replace(" ", "-")
    size = {"name": called, "nodes": len(packed.nodes), "steps": len(packed.steps) // 3}
    if not size["steps"]:
        raise Failure("these exports say of nobody that they can reach anything", Exit.ERROR)
    answer = size if dry_run else Api(obj.person).post(f"/v1/charts/{called}", msgspec.to_builtins(packed))
    verb = "Would be imported" if dry_run else "Imported"
    obj.out.one(answer, f"{verb} as {called}: {answer['steps']:,} steps between {answer['nodes']:,} nodes.")


@blast.command("imports")
@click.pass_obj
def imports(obj: Context) -> None:
    """What is imported."""
    rows = [{**row, "when": ago(row["at"])} for row in Api(obj.person).get("/v1/charts")["items"]]
    obj.out.many(
        rows,
        {"NAME": "name", "NODES": "nodes", "STEPS": "steps", "IMPORTED": "when", "BY": "by"},
        empty="Nothing is imported: remit blast import FILE",
    )


@blast.command()
@click.argument("name")
@click.pass_obj
def remove(obj: Context, name: str) -> None:
    """Have the server forget what was imported as NAME."""
    obj.out.one(Api(obj.person).post(f"/v1/charts/{name}/remove"), f"Removed {name}.")


class _Server:
    """The graph of the server."""

    def __init__(self, obj: Context) -> None:
        self._api = Api(obj.person)

    def nodes(self) -> Sequence[str]:
        return list(self._api.get("/v1/reach")["items"])

    def radius(self, node: str, who: bool, cut: bool) -> dict[str, Any]:
        asked = {"who" if who else "from": node, "limit": 1000, "cut": "yes" if cut else ""}
        return dict(self._api.get("/v1/reach", **asked))

    def way(self, node: str, target: str, who: bool) -> dict[str, Any]:
        return dict(self._api.get("/v1/reach", **{"who" if who else "from": node, "to": target}))


class _Files:
    """The graph of files that are here."""

    def __init__(self, catalogue: Path | None, exports: Sequence[Path]) -> None:
        from remit.discover import catalogue_graph, clouds
        from remit.domain.reach import Graph
        from remit.formats.catalogue import parse

        from .catalogue import read_folder

        graph = Graph().add(clouds.load(exports))
        if catalogue is not None:
            graph = catalogue_graph.joined(parse(read_folder(catalogue)), graph)
        self._graph = graph

    def nodes(self) -> Sequence[str]:
        return sorted(self._graph.nodes())

    def _radius(self, node: str, who: bool) -> Radius:
        from remit.discover.radius import radius

        return radius(self._graph, _named(self._graph, node), who=who)

    def radius(self, node: str, who: bool, cut: bool) -> dict[str, Any]:
        from remit.discover.cuts import NoCuts
        from remit.discover.radius import cuts

        found = self._radius(node, who)
        try:
            steps = {"cuts": cuts(found)} if cut else {}
        except NoCuts as missing:
            raise Failure(str(missing), Exit.ERROR) from missing
        counted = {"count": len(found.others), "beyond": len(found.beyond), "left_off": 0}
        asked = {"who" if who else "from": found.node}
        return {**asked, **counted, "reached": found.rows(len(found.others)), **steps}

    def way(self, node: str, target: str, who: bool) -> dict[str, Any]:
        found = self._radius(node, who)
        end = _named(self._graph, target)
        if end == found.node or end not in found.found:
            raise Failure(f"there is no way between {found.node} and {end}", Exit.NOT_FOUND)
        return {"from": found.node, "to": end, **found.row(end)}


def _named(graph: Graph, text: str) -> str:
    """The node of this name, or the only one that ends like it."""
    if text in graph:
        return text
    like = [node for node in graph.nodes() if node.endswith(text) or node.rpartition("/")[2] == text]
    if len(like) == 1:
        return like[0]
    hint = f"Did you mean {', '.join(sorted(like)[:3])}?" if like else "`remit blast` without a name lists all."
    raise Failure(f"there is no {text!r}", Exit.NOT_FOUND, next_step=hint)


def _text(answer: dict[str, Any]) -> str:
    rows, total = answer["reached"], answer["count"]
    counts = f"{total - answer['beyond']} as meant, {answer['beyond']} beyond."
    start = answer.get("from")
    lines = [f"{start} reaches {total}: {counts}" if start else f"{total} can reach {answer['who']}: {counts}", ""]
    for title, beyond in (("Beyond:", True), ("As meant:", False)):
        some = [row for row in rows if row["beyond"] is beyond]
        if some:
            lines += [title, *(f"  {said(row['way'])}" for row in some[:_SHOWN])]
            lines += [f"  … and {len(some) - _SHOWN} more; --json has them."] if len(some) > _SHOWN else []
            lines.append("")
    if answer["left_off"]:
        lines.append(f"The server leaves off {answer['left_off']} more.")
    return "\n".join(lines).rstrip()


def said(way: Sequence[dict[str, Any]]) -> str:
    """A way on one line."""
    return " ".join([way[0]["source"], *(f"─{step['how']}→ {step['target']}" for step in way)])


def _way(obj: Context, row: dict[str, Any]) -> None:
    lines = [f"  {step['source']}\n    {step['how']}: {step['detail']}\n  → {step['target']}" for step in row["way"]]
    obj.out.one(row, "\n".join(lines))
