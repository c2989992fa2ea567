"""Which systems are told what ends here, and whether they take it."""

from __future__ import annotations

import click

from .api import Api
from .app import Context


@click.group()
def stream() -> None:
    """Streams of signals; a receiver makes its own, with the key that `remit key create receiver` gave it."""


@stream.command("list")
@click.pass_obj
def stream_list(obj: Context) -> None:
    """List every stream: how far it is behind the log, and what keeps it."""
    columns = {
        "RECEIVER": "receiver",
        "STATE": "state",
        "DELIVERY": "delivery",
        "BEHIND": "behind",
        "FAILED": "attempts",
        "WHY": "why",
    }
    rows = Api(obj.person).get("/v1/streams")["items"]
    found = [{**row, "why": row["error"] or row["reason"]} for row in rows]
    obj.out.many(found, columns, empty="Nobody is told. See docs/howto/shared-signals.md.")


@stream.command("show")
@click.argument("receiver")
@click.pass_obj
def stream_show(obj: Context, receiver: str) -> None:
    """Show the stream of RECEIVER."""
    obj.out.one(Api(obj.person).get(f"/v1/streams/{receiver}"))
