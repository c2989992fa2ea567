"""`remit incident IDENTIFIER`: from one identifier to the whole story, what still lives, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .output import ago


@click.command()
@click.argument("identifier")
@click.option(
    "--depth", type=click.IntRange(1, 3), default=1, show_default=True, help="How many shared things to pass."
)
@click.option("--export", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write it with proofs: a ZIP.")
@click.pass_obj
def incident(obj: Context, identifier: str, depth: int, file: Path | None) -> None:
    """Tell the whole story of IDENTIFIER, and what of it still lives.

    \b
    A token's id, a task, an approval, a lease, an agent, a person, a secret, a key's thumbprint, a credential's name
    upstream, a document, an address, an event's number, a scanner's fingerprint:
      remit incident tsk_0123456789abcdef
      remit incident agent:invoice-bot --depth 2
      remit incident 'invoice/acme/17' --export acme.zip
    """
    api = Api(obj.person)
    found = api.get("/v1/incident", of=identifier, depth=depth)
    if file is not None:
        if file.exists():
            raise Failure(f"{file} is there already", Exit.USAGE, next_step="Name another file.")
        file.write_bytes(api.request("GET", "/v1/incident/export", of=identifier, depth=depth).content)
        obj.out.say(f"Wrote {file}. Anybody with the log's key can check it: remit log verify {file} --key KEY")
    obj.out.one(found, told(found))


def told(found: Mapping[str, Any]) -> str:
    """The story for a terminal: what lives first."""
    lines = [", ".join(f"{one['kind']} {one['id']}" for one in found["is"])]
    lines += ["", "Alive now:" if found["live"] else "Nothing of it lives any more."]
    for one in found["live"]:
        until = f", until {ago(one['until'])}" if one.get("until") else ""
        lines += [f"  {one['kind']} {one['id']}: {one['says']}{until}", *(f"    {command}" for command in one["do"])]
    near = [one for one in found["things"] if one["distance"] < found["depth"]]
    lines += ["", "It touched:", *map(_thing, near)]
    shared = [one for one in found["things"] if one["distance"] >= found["depth"]]
    if shared:
        lines += ["", "Shares something with it:", *map(_thing, shared)]
    lines += ["", "What happened:"]
    for event in found["events"]:
        lines.append(f"  {event['index']:>6}  {ago(event['at']):>9}  {event['by']:<22} {event['says']}")
    if found["mentioned"]:
        lines += ["", "Somebody else said it here; these events are not its own:"]
        lines += [f"  {one['index']:>6}  {one['by']:<22} {one['says']}" for one in found["mentioned"]]
    if found["cut"]:
        lines += ["", "Left out:", *(f"  {one}" for one in found["cut"])]
    return "\n".join(lines)


def _thing(one: Mapping[str, Any]) -> str:
    facts = one["facts"]
    names = ("state", "goal", "initiator", "trust", "sensitivity", "sentence", "credential", "handle", "owner")
    said = ", ".join(str(facts[name]) for name in names if facts.get(name))
    by = f"{one['how']} ({one['by']['kind']} {one['by']['id']})" if one["by"] else "asked for"
    return f"  {one['kind']} {one['id']}  {by}" + (f": {said}" if said else "")
