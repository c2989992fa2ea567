"""Stop, watch it reach everything, and let go."""

from __future__ import annotations

import time
from typing import Any

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure

REACH = click.Choice(["agent", "purpose", "tool", "secret", "environment", "owner", "everything"])


@click.command()
@click.argument("reach", type=REACH)
@click.argument("name", default="")
@click.option("--reason", required=True, help="Why; whoever is refused sees it.")
@click.option("--wait", type=click.IntRange(0), default=30, show_default=True, help="Seconds to watch it for.")
@click.pass_obj
def freeze(obj: Context, reach: str, name: str, reason: str, wait: int) -> None:
    """Stop an agent, a purpose, a tool, a secret, an environment, what an owner answers for, or everything.

    \b
    Nothing below it is permitted any more; its open tasks end, and every credential they hold dies. Of an
    environment: nothing there is changed any more, credentials for it die, and tasks go on without.
      remit freeze agent invoice-bot --reason 'pays twice'
      remit freeze everything --reason 'incident 7'
    """
    api = Api(obj.person)
    found = api.post("/v1/freezes", {"reach": reach, "name": name, "reason": reason})
    until = time.monotonic() + wait
    told = ""
    while not found["reached_at"] and time.monotonic() < until:
        line = _line(found)
        if line != told:
            obj.out.say(line)
            told = line
        time.sleep(0.05)
        found = _same(api, found)
    if not found["reached_at"]:
        step = "It goes on by itself. Look again: remit frozen"
        raise Failure(f"frozen, and after {wait} s: {_line(found)}", Exit.HELD, next_step=step)
    obj.out.one(found, f"{_target(found)} is frozen; nothing below it lives, {found['ms']} ms after.")


@click.command()
@click.argument("reach", type=REACH)
@click.argument("name", default="")
@click.option("--reason", default="", help="Why; goes to the log.")
@click.pass_obj
def unfreeze(obj: Context, reach: str, name: str, reason: str) -> None:
    """Let it act again, in new tasks; those that were ended stay ended."""
    answer = Api(obj.person).post("/v1/freezes/end", {"reach": reach, "name": name, "reason": reason})
    obj.out.one(answer, f"{_target(answer)} is active again.")


@click.command()
@click.pass_obj
def frozen(obj: Context) -> None:
    """List what is frozen, and what still lives below it."""
    found = [{**one, "what": _target(one)} for one in Api(obj.person).get("/v1/freezes")["items"]]
    columns = {"FROZEN": "what", "SINCE": "since_at", "BY": "by", "TASKS": "tasks", "CREDENTIALS": "credentials"}
    if not obj.out.as_json:
        found = [{**one, "since_at": one["since"]} for one in found]
    obj.out.many(found, {**columns, "WHY": "reason"}, empty="Nothing is frozen.")


def _same(api: Api, found: dict[str, Any]) -> dict[str, Any]:
    items = api.get("/v1/freezes")["items"]
    same = [one for one in items if (one["reach"], one["name"]) == (found["reach"], found["name"])]
    if not same:
        raise Failure(f"{_target(found)} was let go meanwhile", Exit.ERROR)
    one: dict[str, Any] = same[0]
    return one


def _line(found: dict[str, Any]) -> str:
    return f"{found['tasks']} tasks and {found['credentials']} credentials live, {found['ms']} ms after"


def _target(found: dict[str, Any]) -> str:
    return f"{found['reach']} {found['name']}".strip()
