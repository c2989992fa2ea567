"""`remit egress`: plain HTTP APIs for agents, request by request."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from .api import server_url
from .app import Context
from .exits import Exit, Failure
from .mcp import _pairs


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; beyond loopback it needs TLS.")
@click.option("--port", type=click.IntRange(0, 65535), default=7461, show_default=True, help="0 picks a free one.")
@click.option("--public-url", default="", help="How agents reach it, if not http(s)://host:port.")
@click.option("--wait", type=click.IntRange(0, 3600), default=20, show_default=True, help="Seconds to wait when held.")
@click.option("--timeout", type=click.IntRange(1, 600), default=60, show_default=True, help="Seconds an origin has.")
@click.option("--edge", default="", envvar="REMIT_EDGE", metavar="URL", help="An edge here that decides.  [REMIT_EDGE]")
@click.option("--tls-cert", type=click.Path(path_type=Path, exists=True), help="PEM chain.")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True), help="PEM key.")
@click.option("--purpose", default="", help="For COMMAND: a task of this purpose;")
@click.option("--goal", default="", help="a new one with this goal")
@click.option("--param", "-p", multiple=True, metavar="NAME=VALUE", help="and these parameters,")
@click.option("--task", "task_id", default="", help="or one that is open.  [REMIT_TASK]")
@click.option("--base", "bases", multiple=True, metavar="VAR=URL", help="Put in VAR where COMMAND finds that API.")
@click.option("--intercept-tls", is_flag=True, help="End COMMAND's TLS here, with an authority it is told to trust.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def egress(obj: Context, /, command: tuple[str, ...], **flags: Any) -> None:
    """Let requests out that are calls of reviewed tools (their [http] table), each decided, with the task's credential.

    Without COMMAND it serves agents, which come with a token for its address and a proof (DPoP); with COMMAND, a
    program of one task and no other. Its own key is in the file REMIT_ENFORCER_KEY_FILE names.

    \b
    Examples:
      REMIT_ENFORCER_KEY_FILE=remit-data/keys/gate.key remit egress --port 7461
      remit egress --purpose refunds --goal "Refund 42" --base API_URL=https://api.example/v1 -- python agent.py
    """
    common = {"wait": flags.pop("wait"), "patience": flags.pop("timeout"), "edge": flags.pop("edge")}
    serving = {name: flags.pop(name) for name in ("host", "port", "public_url", "tls_cert", "tls_key")}
    if command:
        _run(obj, command, {**common, **flags})
    if any(flags.values()):
        raise Failure("say which command", Exit.USAGE, next_step="remit egress --purpose NAME --goal TEXT -- COMMAND")

    def announce(resource: str) -> None:
        if obj.out.as_json:
            obj.out.one({"resource": resource, "remit": server_url(), "pid": os.getpid()})
            return
        click.echo(f"The egress is up at   {resource}")
        click.echo(f"an API is at          {resource}/HOST/PATH")
        click.echo("agents                their purposes grant it as the audience of a `jwt` credential")

    for name in ("tls_cert", "tls_key"):
        serving[name] = str(serving[name] or "")
    obj.parts.egress(server_url(), announce, **common, **serving)


def _run(obj: Context, command: tuple[str, ...], flags: dict[str, Any]) -> None:
    task, purpose, goal = flags.pop("task_id"), flags["purpose"], flags["goal"]
    task = task or ("" if goal else os.environ.get("REMIT_TASK", ""))
    if not purpose or bool(goal) is bool(task):
        raise Failure("say which task", Exit.USAGE, next_step="--purpose NAME with --goal TEXT or --task ID.")
    flags["parameters"] = _pairs("--param", flags.pop("param"))
    flags["bases"] = _pairs("--base", flags.pop("bases"))
    code = obj.parts.egress_run(command, obj.out.say_as("remit egress: "), task=task, **flags)
    sys.stdout.flush()
    sys.exit(code)
