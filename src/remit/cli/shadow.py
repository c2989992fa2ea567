"""`remit shadow`: identities and tools that were seen at work, and that nobody registered."""

from __future__ import annotations

from urllib.parse import quote

import click

from .api import Api
from .app import Context


@click.group()
def shadow() -> None:
    """What was seen and nobody registered: refused identities, and tools that no entry names."""


@shadow.command("list")
@click.option("--all", "every", is_flag=True, help="Those that were dismissed, too.")
@click.pass_obj
def shadow_list(obj: Context, every: bool) -> None:
    """List them, the newest first. A `client` is a name that somebody gave, of which nothing was proved."""
    columns = {
        "SHADOW": "id",
        "KIND": "kind",
        "NAME": "name",
        "AT": "source",
        "BY": "reporter",
        "TIMES": "count",
        "LAST": "last_at",
    }
    found = list(Api(obj.person).every("/v1/shadows", state="all" if every else ""))
    obj.out.many(found, {**columns, **({"DISMISSED": "dismissed_by"} if every else {})}, empty="Nothing was seen.")


@shadow.command("show")
@click.argument("shadow_id")
@click.pass_obj
def shadow_show(obj: Context, shadow_id: str) -> None:
    """Show one: where it was seen, how often, first and last."""
    obj.out.one(Api(obj.person).get(f"/v1/shadows/{quote(shadow_id, safe='')}"))


@shadow.command("dismiss")
@click.argument("shadow_id")
@click.option("--note", required=True, help="Why; goes to the log.")
@click.pass_obj
def shadow_dismiss(obj: Context, shadow_id: str, note: str) -> None:
    """Say that it need not be shown. It is counted on."""
    answer = Api(obj.person).post(f"/v1/shadows/{quote(shadow_id, safe='')}/dismiss", {"note": note})
    obj.out.one(answer, f"{shadow_id} is dismissed.")
