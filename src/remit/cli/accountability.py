"""Who answers for what: what nobody answers for, and taking it over."""

from __future__ import annotations

from typing import Any

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure


@click.group()
def succession() -> None:
    """Agents and purposes that nobody answers for: list, accept."""


@succession.command("list")
@click.pass_obj
def succession_list(obj: Context) -> None:
    """List what somebody is asked to answer for, or took over, and when it stops otherwise."""
    found = [_line(one) for one in Api(obj.person).get("/v1/successions")["items"]]
    columns = {"WHAT": "what", "OWNER": "owner", "MISSING": "missing", "STATE": "state", "ASKED": "asked"}
    columns = {**columns, "ANSWERS": "heir", "STOPS": "stops_at"}
    obj.out.many(found, columns, empty="Somebody answers for everything.")


@succession.command("accept")
@click.argument("reach", type=click.Choice(["agent", "purpose"]))
@click.argument("name")
@click.option("--digest", default="", help="Of what you were shown; without it, of what is there now.")
@click.pass_obj
def succession_accept(obj: Context, reach: str, name: str, digest: str) -> None:
    """Answer for it from here on. Whoever keeps the catalogue then writes you in as its owner.

    \b
      remit --as gina succession accept agent invoice-bot
    """
    api = Api(obj.person)
    if not digest:
        items = api.get("/v1/successions")["items"]
        same = [one for one in items if (one["reach"], one["name"]) == (reach, name) and one["yours"]]
        if not same:
            raise Failure(f"nobody asks you to answer for {reach} {name}", Exit.NOT_FOUND)
        digest = same[0]["digest"]
    answer = api.post(f"/v1/successions/{reach}/{name}/accept", {"digest": digest})
    step = f'In its file: owner = "{answer["heir"]}"; then remit apply.'
    obj.out.one(answer, f"{answer['heir']} answers for {reach} {name}. {step}")


def _line(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "what": f"{one['reach']} {one['name']}", "stops_at": one["until"] if one["left_ms"] else 0}
