"""Signing in to the console: one-time links, and who is signed in."""

from __future__ import annotations

import click

from .api import Api
from .app import Context
from .output import ago


@click.group()
def session() -> None:
    """People's sessions in the console."""


@session.command("link")
@click.argument("name", required=False, default="")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["person", "operator", "auditor"]),
    help="What the session may act as; may be repeated. Without: person, or for yourself what you are.",
)
@click.pass_obj
def session_link(obj: Context, name: str, roles: tuple[str, ...]) -> None:
    """Print a link that signs NAME, or yourself, in to the console: once, within ten minutes.

    \b
    Examples:
      remit session link
      remit session link dana --role person --role operator
    """
    answer = Api(obj.person).post("/v1/sessions/links", {"name": name, "roles": list(roles)})
    obj.out.say(
        f"Signs {answer['name']} in as {' and '.join(answer['roles'])}, once, until {ago(answer['expires_at'])}."
    )
    obj.out.one(answer, answer["url"])


@session.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.pass_obj
def session_list(obj: Context, limit: int) -> None:
    """List who is signed in."""
    columns = {
        "NAME": "name",
        "ROLES": "roles",
        "SINCE": "began_at",
        "USED": "seen_at",
        "UNTIL": "expires_at",
        "SESSION": "id",
    }
    found = list(Api(obj.person).every("/v1/sessions", limit))
    obj.out.many(found, columns, empty="Nobody is signed in. `remit session link` prints a link.")


@session.command("end")
@click.argument("session_id")
@click.option("--reason", default="", help="Why; goes to the log.")
@click.pass_obj
def session_end(obj: Context, session_id: str, reason: str) -> None:
    """Sign somebody out, at once."""
    answer = Api(obj.person).post(f"/v1/sessions/{session_id}/end", {"reason": reason})
    obj.out.one(answer, f"{answer['name']} is signed out there.")
