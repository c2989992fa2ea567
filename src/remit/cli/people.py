"""What people do: ask; and the keys an operator hands out."""

from __future__ import annotations

import os

import click

from remit.domain.caller import KEYED

from .api import Api, person_key_path
from .app import Context
from .ceremony import ceremony
from .output import ago


@click.command()
@click.argument("agent")
@click.pass_obj
def ask(obj: Context, agent: str) -> None:
    """Make a short-lived token that names you as the one who began AGENT's next task."""
    answer = Api(obj.person).post("/v1/subject-tokens", {"agent": agent})
    obj.out.one(answer, answer["subject_token"])


@click.group()
def key() -> None:
    """Bearer keys (agents have none, they prove their own), the keys Remit signs with, and its root key."""


key.add_command(ceremony)


@key.command("create")
@click.argument("kind", type=click.Choice([kind.value for kind in KEYED]))
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 365), default=30, show_default=True)
@click.option("--save", is_flag=True, help="Keep it here, for `--as NAME`, instead of printing it.")
@click.pass_obj
def key_create(obj: Context, kind: str, name: str, days: int, save: bool) -> None:
    """Make a key; it is shown once and kept nowhere on the server."""
    answer = Api(obj.person).post("/v1/keys", {"kind": kind, "name": name, "ttl_ms": days * 86_400_000})
    if not save:
        obj.out.one(answer, answer["key"])
        return
    path = person_key_path(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(answer["key"] + "\n")
    saved = {"kind": kind, "name": name, "saved": str(path), "expires_at": answer["expires_at"]}
    obj.out.one(saved, f"Saved {path}; use it with --as {name}.")


@key.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.pass_obj
def key_list(obj: Context, limit: int) -> None:
    """List bearer keys that are good; what a key is, nobody can see."""
    columns = {"KIND": "kind", "NAME": "name", "MADE": "created_at", "UNTIL": "expires_at", "KEY": "id"}
    obj.out.many(list(Api(obj.person).every("/v1/keys", limit)), columns, empty="No keys.")


@key.command("end")
@click.argument("key_id")
@click.option("--reason", default="", help="Why; goes to the log.")
@click.pass_obj
def key_end(obj: Context, key_id: str, reason: str) -> None:
    """Refuse a key from now on; KEY_ID is as `remit key list` shows it."""
    answer = Api(obj.person).post(f"/v1/keys/{key_id}/end", {"reason": reason})
    obj.out.one(answer, f"A key of {answer['name']} ({answer['kind']}) is good no more.")


@key.command("signing")
@click.pass_obj
def key_signing(obj: Context) -> None:
    """List the keys Remit signs with: next, current, retiring and retired."""
    columns = {
        "USE": "use",
        "STATE": "state",
        "MADE": "created_at",
        "SIGNS FROM": "signs_from_at",
        "VERIFIES UNTIL": "retire_at",
        "KID": "kid",
    }
    found = list(Api(obj.person).every("/v1/signing-keys"))
    if not obj.out.as_json:
        found = [{**key, "signs_from_at": key["signs_from"]} for key in found]
    obj.out.many(found, columns, empty="No keys.")


@key.command("rotate")
@click.option(
    "--use",
    type=click.Choice(["token", "federation", "svid", "authority", "ssh", "x509", "client", "signal", "log"]),
    required=True,
)
@click.option("--now", is_flag=True, help="The key may be known to somebody: destroy it; what it signed is refused.")
@click.option("--reason", default="", help="Why; needed with --now, and goes to the log.")
@click.pass_obj
def key_rotate(obj: Context, use: str, now: bool, reason: str) -> None:
    """Replace the key Remit signs with for one use; nothing restarts and nothing valid is refused.

    \b
    Example: remit key rotate --use token
    """
    answer = Api(obj.person).post(f"/v1/signing-keys/{use}/rotate", {"now": now, "reason": reason})
    if now:
        gone = len(answer["destroyed"])
        text = f"{answer['kid']} signs now; {gone} destroyed. Refused from now on: {answer['dies']}."
    else:
        text = f"{answer['kid']} is published and signs {ago(answer['signs_from'])}; the old one verifies meanwhile."
    obj.out.one(answer, text)
