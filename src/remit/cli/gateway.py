"""`remit gateway`: one address for all of an agent's tools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from .api import server_url
from .app import Context


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; beyond loopback it needs TLS.")
@click.option("--port", type=click.IntRange(0, 65535), default=7460, show_default=True, help="0 picks a free one.")
@click.option("--public-url", default="", help="How agents reach it, if not http(s)://host:port.")
@click.option("--server", "servers", multiple=True, metavar="NAME", help="Only this one of the catalogue's servers.")
@click.option("--wait", type=click.IntRange(0, 3600), default=20, show_default=True, help="Seconds to wait when held.")
@click.option("--edge", default="", envvar="REMIT_EDGE", metavar="URL", help="An edge here that decides.  [REMIT_EDGE]")
@click.option("--tls-cert", type=click.Path(path_type=Path, exists=True), help="PEM chain.")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True), help="PEM key.")
@click.pass_obj
def gateway(obj: Context, /, **flags: Any) -> None:
    """Serve MCP to agents, in front of the servers of the catalogue's [servers].

    Agents come with a token that Remit issued for this gateway's address and their task, bound to their key (DPoP).
    The gateway's own key is in the file REMIT_ENFORCER_KEY_FILE names; REMIT_URL is Remit's public address.

    \b
    Example:
      remit key create enforcer gate --save
      REMIT_ENFORCER_KEY_FILE=remit-data/keys/gate.key remit gateway --port 7460
    """

    def announce(resource: str) -> None:
        if obj.out.as_json:
            obj.out.one({"resource": resource, "remit": server_url(), "pid": os.getpid()})
            return
        click.echo(f"The gateway is up at   {resource}")
        click.echo("agents                 their purposes grant it as the audience of a `jwt` credential")

    for name in ("tls_cert", "tls_key"):
        flags[name] = str(flags[name] or "")
    flags["wait_budget_s"] = flags.pop("wait")
    obj.parts.gateway(server_url(), announce, **flags)
