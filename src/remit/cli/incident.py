"""`remit incident IDENTIFIER`: from one identifier to the whole story, what still lives, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        until = f"; by itself it ends {ago(one['until'])}" if one["until"] else ""
        lines += [f"  {one['kind']} {one['id']}: {one['says']}{until}", *(f"    {command}" for command in one["do"])]
    near = [one for one in found["things"] if one["distance"] < found["depth"]]
    lines += ["", "It touched:", *_things(near, found["is"])]
    shared = [one for one in found["things"] if one["distance"] >= found["depth"]]
    if shared:
        lines += ["", "Shares something with it:", *_things(shared, found["is"])]
    lines += ["", "What happened:"]
    for event in found["events"]:
        lines.append(f"  {event['index']:>6}  {ago(event['at']):>9}  {event['by']:<22} {event['says']}")
    if found["mentioned"]:
        lines += ["", "Somebody else said it here; these events are not its own:"]
        lines += [f"  {one['index']:>6}  {one['by']:<22} {one['says']}" for one in found["mentioned"]]
    if found["cut"]:
        lines += ["", "Left out:", *(f"  {one}" for one in found["cut"])]
    return "\n".join(lines)


def _things(things: Sequence[Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]]) -> list[str]:
    """How each is met, and what is known of it in the line below."""
    lines = []
    for one in things:
        via = one["by"]
        how = "" if via is None else one["how"] if via in seeds else f"{via['kind']} {via['id']} {one['how']}"
        lines.append(f"  {how} {one['kind']} {one['id']}" if how else f"  {one['kind']} {one['id']}")
        said = _facts(one["facts"])
        lines += [f"      {said}"] if said else []
    return lines


def _facts(facts: Mapping[str, Any]) -> str:
    plain = [
        str(facts[name]) for name in ("state", "severity", "goal", "sentence", "title", "place") if facts.get(name)
    ]
    plain += [f"begun by {facts['initiator']}"] if facts.get("initiator") else []
    plain += [f"has read {facts['trust']}, {facts['sensitivity']}"] if facts.get("trust") else []
    plain += [f"{facts['credential']}, called {facts['handle']}"] if facts.get("handle") else []
    plain += [f"{facts['owner']} answers for it"] if facts.get("owner") else []
    return "; ".join(
        plain + [f"{one['person']} said {'yes' if one['yes'] else 'no'}" for one in facts.get("answers", ())]
    )
