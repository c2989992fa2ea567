"""`remit owner`: who may answer for an agent, by what evidence; and that somebody confirms one of them."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .app import Context
from .catalogue import read_folder
from .catalogue_files import added, difference, write
from .exits import Exit, Failure

if TYPE_CHECKING:
    from remit.domain.discovery import Proposal

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def EXPORTS(command: Any) -> Any:  # noqa: N802 - a decorator like click's
    """Where else to look for owners."""
    export = click.option(
        "--export", "exports", type=_FILE, multiple=True, help="A cloud's export: its tags say owners."
    )
    directory = click.option("--directory", type=_FILE, help="Groups of a directory (SCIM): who is in a team.")
    return export(directory(command))


def shown(proposal: Proposal) -> dict[str, Any]:
    """Stable keys."""
    return {"who": proposal.who, "source": proposal.source, "path": proposal.place.path, "line": proposal.place.line}


def confirmed(obj: Context, agent: str, proposals: Sequence[Proposal]) -> str:
    """Whom a person at this terminal names, when there is one; empty when nobody is there or nobody is named."""
    if obj.out.as_json or obj.out.quiet or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    for one in proposals:
        obj.out.say(f"could answer for {agent}: {one.who}  ({one.source}, {one.place})")
    return checked(
        str(click.prompt("Who answers for it (empty: nobody yet)", default="", show_default=False, err=True))
    )


def checked(owner: str) -> str:
    """A person's name in the catalogue."""
    from remit.domain.identity import NAME

    if owner and not NAME.match(owner):
        raise Failure(
            f"{owner!r} is not a name", Exit.USAGE, next_step="Use the person's name in remit.toml: a-z, 0-9, '-'."
        )
    return owner


@click.group()
def owner() -> None:
    """Owners: who may answer for what was found, and who does."""


@owner.command("propose")
@click.argument("root", type=click.Path(path_type=Path, exists=True), default=".")
@EXPORTS
@click.pass_obj
def propose(obj: Context, root: Path, exports: tuple[Path, ...], directory: Path | None) -> None:
    """Show who could answer for each agent, server and pipeline below ROOT, by which line of which file.

    These are proposals. Nobody is an owner until somebody confirms it.
    """
    from remit.discover import Looked, ownership, scan
    from remit.discover.values import Fingerprints
    from remit.domain.discovery import Noun

    found = scan([root], Fingerprints(b"0" * 32), Looked(scanners=False))
    wanted = (Noun.AGENT, Noun.MCP_SERVER, Noun.PIPELINE, Noun.SERVICE)
    named = [(id_, t) for id_, t in zip(found.ids, found.things, strict=True) if t.noun in wanted]
    by_path = ownership.proposals(root, [thing for _, thing in named], exports, directory)
    rows = [
        {"finding": id_, "thing": f"{thing.noun.value} {thing.name}", **shown(one), "weight": one.weight}
        for id_, thing in named
        for one in by_path[thing.place.path]
    ]
    columns = {
        "FINDING": "finding",
        "THING": "thing",
        "COULD ANSWER": "who",
        "BY": "source",
        "FILE": "path",
        "LINE": "line",
    }
    obj.out.many(rows, columns, empty="Nobody is named anywhere. `remit owner confirm AGENT --owner NAME` says who.")


@owner.command("confirm")
@click.argument("agent")
@click.option(
    "--owner", "who", required=True, metavar="PERSON", help="Who answers for it, by their name in remit.toml."
)
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), default=".", help="The catalogue's folder.")
@click.option("--dry-run", is_flag=True, help="Print the difference, and write nothing.")
@click.pass_obj
def confirm(obj: Context, agent: str, who: str, into: Path, dry_run: bool) -> None:
    """Write PERSON as the owner of AGENT, and of purposes of its name that have none, for review and `remit apply`."""
    before, paths = read_folder(into), [f"agents/{agent}.toml", f"purposes/{agent}.toml"]
    if paths[0] not in before:
        raise Failure(f"{into} has no agents/{agent}.toml", Exit.NOT_FOUND)
    after = dict(before)
    for path in paths:
        if path in before:
            after[path] = _owned(path, before[path], checked(who))
    people = tomllib.loads(before.get("remit.toml", "")).get("people", {})
    after = added(after, {}, {} if who in people else {f"people.{who}": {}})
    text = difference(before, after)
    written = [] if dry_run else write(into, before, after)
    value = {"agent": agent, "owner": who, "files": written, "diff": text}
    obj.out.one(value, text.rstrip("\n") if dry_run else f"{who} answers for {agent}. Next: remit plan {into}")


def _owned(path: str, text: str, who: str) -> str:
    """The file with this owner in it; another one that stands there is not replaced."""
    try:
        there = tomllib.loads(text).get("owner")
    except tomllib.TOMLDecodeError as bad:
        raise Failure(f"{path}: {bad}") from bad
    if there == who:
        return text
    if there is not None:
        raise Failure(f"{path} says that {there!r} answers for it", next_step="Change it there, if that is meant.")
    kept = re.sub(r"^# Nobody answers for it yet:.*\n(?:#   .*\n)*", "", text, count=1, flags=re.MULTILINE)
    head = re.match(r"(?:#.*\n)*", kept)
    at = head.end() if head else 0
    return f'{kept[:at]}owner = "{who}"\n{kept[at:]}'
