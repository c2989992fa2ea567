"""`remit mcp`: an enforcement point in front of any stdio MCP server."""

from __future__ import annotations

import os

import click

from .app import Context
from .exits import Exit, Failure


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--purpose", default="", help="A task of this purpose:")
@click.option("--goal", default="", help="a new one with this goal")
@click.option("--param", "-p", multiple=True, metavar="NAME=VALUE", help="and these parameters,")
@click.option("--task", "task_id", default="", help="or one that is open.  [REMIT_TASK]")
@click.option("--server", default="", help="Catalogue tools are named SERVER.TOOL.")
@click.option("--wait", type=click.IntRange(0, 3600), default=20, show_default=True, help="Seconds to wait when held.")
@click.option("--env", "passed", multiple=True, metavar="NAME", help="A variable of yours that COMMAND gets too.")
@click.argument("command", nargs=-1, required=True)
@click.pass_obj
def mcp(
    obj: Context,
    purpose: str,
    goal: str,
    param: tuple[str, ...],
    task_id: str,
    server: str,
    wait: int,
    passed: tuple[str, ...],
    command: tuple[str, ...],
) -> None:
    """Run COMMAND, an MCP server on stdio, with every tools/call decided by Remit.

    \b
    Example:
      remit mcp --purpose tidy-notes --goal "File today's notes" -- mcp-server-filesystem ./notes
    """
    parameters: dict[str, str] = {}
    for pair in param:
        name, sep, value = pair.partition("=")
        if not sep:
            raise Failure(f"--param wants NAME=VALUE, not {pair!r}", Exit.USAGE)
        parameters[name] = value
    task_id = task_id or os.environ.get("REMIT_TASK", "")
    if not purpose or not (goal or task_id):
        raise Failure("say which task", Exit.USAGE, next_step="--purpose NAME with --goal TEXT or --task ID.")
    obj.parts.enforce(
        list(command),
        purpose=purpose,
        goal=goal,
        parameters=parameters,
        task=task_id,
        server=server,
        wait_budget_s=wait,
        env={name: os.environ[name] for name in passed if name in os.environ},
    )
