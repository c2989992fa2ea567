"""`remit up`: a server here and now."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .api import data_dir
from .app import Context
from .settings import effective


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", type=click.Path(path_type=Path), help="Where the database and keys live.  [REMIT_DATA]")
@click.option("--host", help="Address to bind; beyond loopback it needs TLS.  [REMIT_HOST]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 picks a free one.  [REMIT_PORT]")
@click.option("--public-url", help="How others reach it, if not http(s)://host:port.  [REMIT_PUBLIC_URL]")
@click.option("--database", help="postgresql://… instead of embedded SQLite.  [REMIT_DATABASE]")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="PEM chain.  [REMIT_TLS_CERT]")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM key.  [REMIT_TLS_KEY]")
@click.option("--trust-domain", help="SPIFFE trust domain of the agents.  [REMIT_TRUST_DOMAIN]")
@click.option("--workload-api", type=click.Path(path_type=Path), help="Unix socket for SPIFFE.  [REMIT_WORKLOAD_API]")
@click.option("--svid-ttl", type=click.IntRange(2, 86_400), help="Life of X.509-SVIDs in seconds.  [REMIT_SVID_TTL]")
@click.option("--rotate-keys-after", type=click.IntRange(60, 25_920_000), help="Seconds.  [REMIT_ROTATE_KEYS_AFTER]")
@click.option("--key-overlap", type=click.IntRange(1, 604_800), help="Seconds.  [REMIT_KEY_OVERLAP]")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; more than one on PostgreSQL.  [REMIT_WORKERS]")
@click.option("--drain", type=click.IntRange(0, 300), help="Seconds not ready before it stops.  [REMIT_DRAIN]")
@click.option("--out-dir", type=click.Path(path_type=Path), help="Files that the log goes to.  [REMIT_OUT_DIR]")
@click.option("--nats", help="nats://… or tls://…: push frames to edges over JetStream too.  [REMIT_NATS]")
@click.option("--nats-creds", type=click.Path(path_type=Path), help="Credentials for it.  [REMIT_NATS_CREDS]")
@click.option("--nats-domain", help="JetStream domain, seen from a leaf node.  [REMIT_NATS_DOMAIN]")
@click.pass_obj
def up(obj: Context, /, **flags: Any) -> None:
    """Start a server: embedded SQLite, loopback, nothing to configure.

    \b
    Examples:
      remit up
      remit up --port 8443 --host 0.0.0.0 --tls-cert chain.pem --tls-key key.pem
    """
    settings = {
        name: value for name, (value, _) in effective({k: v for k, v in flags.items() if v is not None}).items()
    }

    def announce(url: str, data: Path, operator_key: Path, sign_in: str) -> None:
        if obj.out.as_json:
            obj.out.one({"url": url, "data": str(data), "operator_key": str(operator_key)})
            return
        export = "" if data.resolve() == data_dir().resolve() else f"export REMIT_DATA={data}; "
        click.echo(f"Remit is up at   {url}")
        click.echo(f"data             {data}/remit.db" if not settings["database"] else "data             PostgreSQL")
        click.echo(f"keys             {data}/root.key seals everything; {operator_key} is yours")
        if settings["workload_api"]:
            click.echo(f"workload API     SPIFFE_ENDPOINT_SOCKET=unix://{Path(settings['workload_api']).resolve()}")
        ways = (
            f"{sign_in} (once, 10 min; again: remit session link)"
            if sign_in
            else "remit session link prints an address"
        )
        click.echo(f"sign in          {ways}")
        click.echo(f"next             {export}remit plan examples/billing && remit apply examples/billing")

    watched = sys.stdout.isatty() and not obj.out.as_json
    obj.parts.serve(announce=announce, watched=watched, **settings)
