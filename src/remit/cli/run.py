"""`remit run`: a command with credentials that exist for one task."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from .app import Context
from .exits import Exit, Failure

if TYPE_CHECKING:
    from remit_client import Remit, Task

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--purpose", default="", help="A task of this purpose")
@click.option("--goal", default="", help="with this goal")
@click.option("--param", "-p", multiple=True, metavar="NAME=VALUE", help="and these parameters.")
@click.option(
    "--credential", "-c", "credentials", multiple=True, metavar="NAME[=SHAPE[:AT]]", help="What COMMAND gets, and how."
)
@click.option(
    "--on-behalf-of", metavar="TOKEN", envvar="REMIT_ON_BEHALF_OF", default="", help="A person's `remit ask` token."
)
@click.option("--duration", default="", metavar="15m", help="Ask for less time than the purpose allows.")
@click.option("--task", "task_id", default="", help="Use this open task of the agent, and leave it open.")
@click.option("--end", is_flag=True, help="With --task: end it like one of our own.")
@click.option("--hook-key", is_flag=True, help="Give COMMAND a REMIT_HOOK_KEY for its HTTP hooks.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run(
    obj: Context,
    purpose: str,
    goal: str,
    param: tuple[str, ...],
    credentials: tuple[str, ...],
    on_behalf_of: str,
    duration: str,
    task_id: str,
    end: bool,
    hook_key: bool,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND with credentials that exist for one task, and end the task when it exits.

    \b
    Shapes: env, file, pgservice, mycnf, creds, aws, k8s, git:HOST, docker:REGISTRY, exec;
    without one, what is usual for the credential's kind.
    \b
    Example:
      remit run --purpose pay-invoices --goal "Pay ACME" -p customer=acme -c billing-db -- psql
    """
    from remit_client import Remit
    from remit_client.running.session import run as run_session
    from remit_client.shapes import ShapeError, Wanted

    if bool(task_id) == bool(purpose) or (purpose and not goal) or (end and not task_id):
        raise Failure("say which task", Exit.USAGE, next_step="--purpose NAME with --goal TEXT, or --task ID [--end].")
    try:
        wanted = [Wanted.parse(text) for text in credentials]
        remit = Remit()
        task = _adopted(remit, task_id) if task_id else _proposed(remit, purpose, goal, param, on_behalf_of, duration)
        told, ends = obj.out.say_as("remit run: "), not task_id or end
        code = run_session(remit, task, wanted, command, ends=ends, told=told, hook_key=hook_key)
    except ShapeError as wrong:
        raise Failure(str(wrong), Exit.USAGE, next_step="See `remit run --help`.") from None
    sys.stdout.flush()
    sys.exit(code)


def _proposed(remit: Remit, purpose: str, goal: str, pairs: Sequence[str], on_behalf_of: str, duration: str) -> Task:
    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, sep, value = pair.partition("=")
        if not sep:
            raise Failure(f"--param wants NAME=VALUE, not {pair!r}", Exit.USAGE)
        parameters[name] = value
    return remit.propose(purpose, goal, parameters, on_behalf_of, seconds(duration) if duration else 0)


def _adopted(remit: Remit, task_id: str) -> Task:
    found = remit.run(remit.agent.own(f"/v1/tasks/{quote(task_id, safe='')}"))
    return remit.adopt(found["purpose"], found["id"])


def seconds(text: str) -> int:
    """`90`, `90s`, `15m`, `2h`, `1d`."""
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd]?)", text)
    if not found:
        raise Failure(f"--duration wants a time such as 90s, 15m or 2h, not {text!r}", Exit.USAGE)
    return int(found[1]) * _UNITS[found[2]]
