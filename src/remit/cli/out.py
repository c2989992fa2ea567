"""`remit out`: which systems are given the log, how far each has come, and whether what arrived there is all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from remit.domain.errors import Malformed, ProofInvalid
from remit.formats.out_record import LINE_LIMIT, read
from remit.formats.tlog import parse_checkpoint
from remit.log.delivered import Delivered

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .log import key_option

_COLUMNS = {"SINK": "name", "KIND": "kind", "STATE": "state", "AT": "position", "BEHIND": "behind", "WHY": "why"}


@click.group()
def out() -> None:
    """Sinks that are given the log; they are the [out.NAME] of the catalogue's remit.toml."""


@out.command("list")
@click.pass_obj
def out_list(obj: Context) -> None:
    """List every sink: how far behind the log it is, and what keeps it."""
    rows = Api(obj.person).get("/v1/out")["items"]
    found = [{**row, "why": row["error"] or row["reason"]} for row in rows]
    obj.out.many(found, _COLUMNS, empty="The log goes nowhere. See docs/howto/siem.md.")


@out.command("show")
@click.argument("name")
@click.pass_obj
def out_show(obj: Context, name: str) -> None:
    """Show the sink NAME."""
    obj.out.one(Api(obj.person).get(f"/v1/out/{name}"))


@out.command()
@click.argument("name")
@click.option("--reason", default="", help="For the log.")
@click.pass_obj
def pause(obj: Context, name: str, reason: str) -> None:
    """Send NAME nothing for now. Nothing is lost: the log is kept, and so is its place."""
    _told(obj, Api(obj.person).post(f"/v1/out/{name}/pause", {"reason": reason}))


@out.command()
@click.argument("name")
@click.option("--reason", default="", help="For the log.")
@click.pass_obj
def resume(obj: Context, name: str, reason: str) -> None:
    """Go on with NAME where it was paused."""
    _told(obj, Api(obj.person).post(f"/v1/out/{name}/resume", {"reason": reason}))


@out.command()
@click.argument("name")
@click.argument("place", type=click.IntRange(0))
@click.option("--reason", default="", help="For the log.")
@click.pass_obj
def rewind(obj: Context, name: str, place: int, reason: str) -> None:
    """Send NAME everything from PLACE of the log on, again if it had it."""
    _told(obj, Api(obj.person).post(f"/v1/out/{name}/rewind", {"place": place, "reason": reason}))


def _told(obj: Context, row: dict[str, Any]) -> None:
    obj.out.one(row, f"{row['name']} is {row['state']}, at {row['position']}, {row['behind']} behind.")


@out.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--key", "key_text", default="", help="The log's public key: compare with a checkpoint too.")
@click.option("--checkpoint", "note_file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--from", "first", type=click.IntRange(0), help="The place that it should begin at.")
@click.pass_obj
def check(obj: Context, files: tuple[Path, ...], key_text: str, note_file: Path | None, first: int | None) -> None:
    """Tell whether FILES, as a sink has them, are all of the log: gaps, repeats, and records that are not the log's.

    \b
    Needs nothing but the files. A record that came twice is no flaw, a gap is:
      remit out check /var/log/remit/siem.*.jsonl /var/log/remit/siem.jsonl
      remit out check siem.jsonl --key remit.local/log+1a2b3c4d+AQ… --checkpoint log.checkpoint
    """
    if bool(key_text) is not (note_file is not None):
        raise Failure("--key and --checkpoint go together", Exit.USAGE)
    found = Delivered()
    for path in files:
        with path.open("rb") as lines:
            while line := lines.readline(LINE_LIMIT):
                try:
                    found.add(*read(line))
                except Malformed:
                    found.unreadable += 1
    told = found.told(first)
    problem = found.problem(first)
    if key_text and note_file is not None and not problem:
        key = key_option(key_text)
        try:
            head = parse_checkpoint(note_file.read_bytes(), [key], origin=key.name)
            found.check(head.origin, head.size, head.root)
            told["verified"] = head.size
        except ProofInvalid as bad:
            problem = f"not those that were signed: {bad}"
    if problem:
        obj.out.one(told, f"places {told['first']} to {told['last']}, {told['repeated']} of them again")
        raise Failure(f"NOT all of it: {problem}", Exit.ERROR)
    text = f"All of it: places {told['first']} to {told['last']}, {told['repeated']} records came again"
    text += f"; the first {told['verified']} are exactly those that were signed" if "verified" in told else ""
    obj.out.one(told, text + ".")
