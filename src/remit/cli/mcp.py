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
@click.option("--secret", "secrets", multiple=True, metavar="NAME=CREDENTIAL", help="A credential COMMAND alone gets.")
@click.option("--gateway", default="", metavar="URL", help="Instead of COMMAND: all that `remit gateway` there has.")
@click.option("--edge", default="", envvar="REMIT_EDGE", metavar="URL", help="An edge here that decides.  [REMIT_EDGE]")
@click.argument("command", nargs=-1)
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
    secrets: tuple[str, ...],
    gateway: str,
    edge: str,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND, an MCP server on stdio, with every tools/call decided by Remit.

    \b
    Examples:
      remit mcp --purpose tidy-notes --goal "File today's notes" -- mcp-server-filesystem ./notes
      remit mcp --purpose tidy-notes --goal "File today's notes" --gateway https://gateway.example/mcp

    With --secret this process is an enforcement point of its own: its key is in the file REMIT_ENFORCER_KEY_FILE names,
    which the agent must not be able to read.
    """
    task_id = task_id or os.environ.get("REMIT_TASK", "")
    if not purpose or not (goal or task_id):
        raise Failure("say which task", Exit.USAGE, next_step="--purpose NAME with --goal TEXT or --task ID.")
    if bool(gateway) == bool(command) or (gateway and (server or passed or secrets)):
        step = "Either COMMAND, with --server, --env and --secret, or --gateway URL alone."
        raise Failure("say what is behind it", Exit.USAGE, next_step=step)
    obj.parts.enforce(
        list(command),
        purpose=purpose,
        goal=goal,
        parameters=_pairs("--param", param),
        task=task_id,
        server=server,
        wait_budget_s=wait,
        env={name: os.environ[name] for name in passed if name in os.environ},
        secrets=_pairs("--secret", secrets),
        gateway=gateway,
        edge=edge,
    )


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in given:
        name, sep, value = pair.partition("=")
        if not (name and sep and value):
            raise Failure(f"{option} wants NAME=VALUE, not {pair!r}", Exit.USAGE)
        found[name] = value
    return found
