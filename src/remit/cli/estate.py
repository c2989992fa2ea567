"""The estate as the centre sees it: every edge, how far behind it is, and what is wrong with it."""

from __future__ import annotations

import time
from typing import Any

import click

from .api import Api
from .app import Context

COLUMNS = {
    "EDGE": "name",
    "SEEN": "seen_at",
    "CATALOGUE": "follows",
    "BEHIND": "behind",
    "BACKLOG": "backlog",
    "TASKS": "held",
    "RELEASE": "release",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def estate() -> None:
    """Edges decide beside agents in other networks; each follows this centre and reports to it.

    \b
    In remit.toml [edges.NAME] says where one is. `remit key create edge NAME` lets it in.
    """


@estate.command("list")
@click.pass_obj
def list_edges(obj: Context) -> None:
    """List every edge: when it last asked, which catalogue it follows, how far behind it is, what it holds."""
    found = [_line(one) for one in Api(obj.person).get("/v1/estate")["items"]]
    obj.out.many(found, COLUMNS, empty="There are no edges. [edges.NAME] in remit.toml makes one.")
    for one in found:
        for warning in one["warnings"]:
            obj.out.say(f"! {one['name']}: {warning}")


@estate.command("show")
@click.argument("edge")
@click.pass_obj
def show(obj: Context, edge: str) -> None:
    """Show one edge, and which tasks it holds."""
    obj.out.one(Api(obj.person).get(f"/v1/estate/edges/{edge}"))


@estate.command("forget")
@click.argument("edge")
@click.option("--reason", required=True, help="Why; goes to the log.")
@click.pass_obj
def forget(obj: Context, edge: str, reason: str) -> None:
    """End every task that EDGE holds. As it is now it is never heard again; with an empty store it may come back.

    \b
    Its key stays good: take it out of the catalogue when it is not to come back.
      remit estate forget west --reason 'the machine was stolen'
    """
    answer = Api(obj.person).post(f"/v1/estate/edges/{edge}/forget", {"reason": reason})
    obj.out.one(answer, f"Edge {edge} is forgotten; {answer['ended']} tasks ended.")


def _line(one: dict[str, Any]) -> dict[str, Any]:
    behind = f"{one['lag_events']} events, {one['lag_ms']} ms" if one["seen_at"] else ""
    follows = ("in force" if one["current"] else one["catalogue"].partition(":")[2][:12]) if one["seen_at"] else ""
    seen = time.time() * 1000 - one["seen_at"] if one["seen_at"] else -1
    shown = {"follows": follows, "behind": behind, "held": len(one["tasks"]), "seen_ago_ms": int(seen)}
    return {**one, **shown}
