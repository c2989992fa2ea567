"""`remit adopt`: what a scan found, as catalogue files for somebody to review. Nothing is applied."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from .api import Api
from .app import Context
from .catalogue import read_folder
from .catalogue_files import added, difference, write
from .exits import Exit, Failure
from .owner import EXPORTS, checked, confirmed, shown

if TYPE_CHECKING:
    from remit.discover.adoption import Draft, Wanted
    from remit.discover.files import File
    from remit.domain.discovery import Proposal, Thing

_REPORT = 64 * 1024 * 1024
_DECISIONS = 5_000
_SHORTEST = 8  # a shorter text may well stand somewhere by chance


@click.command()
@click.argument("finding")
@click.option("--in", "root", type=click.Path(path_type=Path, exists=True), default=".", help="Where it was found.")
@click.option(
    "--report", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="What `remit scan --json` said."
)
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), default=".", help="The catalogue's folder.")
@click.option("--name", default="", help="Call the agent and its purpose so.")
@click.option("--owner", default="", metavar="PERSON", help="Who answers for it; without, nobody does yet.")
@click.option("--start", is_flag=True, help="Start the MCP servers it names, here, and ask them for their tools.")
@click.option(
    "--observed", default="", metavar="AGENT", help="Grant only tools that AGENT was permitted, by the server's log."
)
@click.option("--repository", default="", metavar="OWNER/REPO", help="Of a pipeline.")
@click.option("--repository-id", default="", metavar="N", help="Of a pipeline: a name can be registered again.")
@click.option("--audience", default="", metavar="URL", help="Remit's address, for which a pipeline's tokens are made.")
@click.option("--gateway", default="", metavar="URL", help="Of a gateway: tasks get a token for it.")
@EXPORTS
@click.option("--dry-run", is_flag=True, help="Print the difference, and write nothing.")
@click.pass_obj
def adopt(obj: Context, /, finding: str, root: Path, into: Path, owner: str, **said: Any) -> None:
    """Write the agent, the purpose and the tools of FINDING for you to review: an id or a path of `remit scan`, or
    an id of `remit shadow`.

    No secret is copied, nothing is overwritten or applied, and no server is started unless you say so.

    \b
    Examples:
      remit scan                                        # says ids
      remit adopt 3f9a1c20de --owner olga --dry-run
      remit adopt .cursor/mcp.json --start --owner olga --into catalogue
    """
    from remit.discover import ownership
    from remit.discover.adoption import Refused, draft, shadows, slug, written
    from remit.discover.files import File

    if said["name"] and slug(said["name"], "") != said["name"]:
        raise Failure(f"--name {said['name']!r} is not a plain name", Exit.USAGE, next_step="Use a-z, 0-9 and '-'.")
    wanted, file = _wanted(obj, said), File("", b"")
    proposals: tuple[Proposal, ...] = ()
    try:
        if finding.startswith("shw-"):
            made = shadows.draft(Api(obj.person).get(f"/v1/shadows/{quote(finding, safe='')}"), wanted)
        else:
            root, file, things = _found(finding, root, said["report"])
            made = draft(file, things, wanted, _described(obj, file, things, said["start"]))
            proposals = ownership.proposals(root, things, said["exports"], said["directory"]).get(file.path, ())
    except Refused as refused:
        raise Failure(f"cannot be adopted: {refused}", Exit.ERROR) from refused
    before = read_folder(into, new=True)
    owner = checked(owner) or confirmed(obj, made.name, proposals)
    after = added(before, written(made, owner, proposals), _tables(made, owner, before))
    if not made.open:
        stand_in = owner or "nobody"
        _check_catalogue(added(before, written(made, stand_in, ()), _tables(made, stand_in, before)))
    _check_secrets(file, after, before)
    text = difference(before, after)
    paths = sorted(p for p in after if after[p] != before.get(p)) if said["dry_run"] else write(into, before, after)
    value: dict[str, Any] = {
        "agent": made.name,
        "files": paths,
        "owner": owner,
        "open": list(made.open),
        "left": list(made.left),
    }
    value |= {"next": _steps(made, owner, into), "diff": text, "written": not said["dry_run"]}
    value["owners"] = [shown(p) for p in proposals]
    lines = [text.rstrip("\n")] if said["dry_run"] else [str(into / path) for path in paths]
    obj.out.one(value, "\n".join(lines))
    for line in _talk(value, proposals):
        obj.out.say(line)


def _found(finding: str, root: Path, report: Path | None) -> tuple[Path, File, list[Thing]]:
    """The things of this id or path, as they are now, and the file they are in."""
    from remit.discover import Looked, scan
    from remit.discover.files import File, read_bounded
    from remit.discover.values import Fingerprints

    path = ""
    if report is not None:
        root, path = _reported(finding, report)
    whole = scan([root], Fingerprints(b"0" * 32), Looked(scanners=False))
    named = dict(zip(whole.ids, whole.things, strict=True))
    things = [named[finding]] if finding in named else [t for t in whole.things if t.place.path == finding]
    if not things:
        step = f"It is not in {path} any more; scan again." if path else "See: remit scan"
        raise Failure(f"nothing is called {finding!r} below {root}", Exit.NOT_FOUND, next_step=step)
    place = things[0].place.path
    data = read_bounded(root / place if root.is_dir() else root)
    if data is None:
        raise Failure(f"{place} cannot be read", Exit.ERROR)
    return root, File(place, data), things


def _reported(finding: str, report: Path) -> tuple[Path, str]:
    """Where a report says that it was found. All else is read from the file itself."""
    try:
        if report.stat().st_size > _REPORT:
            raise ValueError("it is too large")
        things = json.loads(report.read_bytes())["things"]
        found = next(one for one in things if finding in (one["id"], one["path"]))
        root, path = Path(str(found["root"])), str(found["path"])
    except StopIteration:
        raise Failure(f"{report} has nothing called {finding!r}", Exit.NOT_FOUND) from None
    except (ValueError, KeyError, TypeError, RecursionError) as bad:
        raise Failure(f"{report} is no report of `remit scan --json`", Exit.USAGE) from bad
    if not root.exists():
        raise Failure(f"{root}, where it was found, is not here", Exit.NOT_FOUND, next_step="Run it where you scanned.")
    return root, path


def _wanted(obj: Context, said: Mapping[str, Any]) -> Wanted:
    from remit.discover.adoption import Wanted

    only = _observed(obj, said["observed"]) if said["observed"] else None
    keys = ("name", "repository", "repository_id", "audience", "gateway")
    return Wanted(only=only, **{key: said[key] for key in keys})


def _observed(obj: Context, agent: str) -> frozenset[str]:
    """The tools that this agent was permitted, by the newest decisions in the log."""
    api, before, found, seen = Api(obj.person), None, set(), 0
    while before != 0 and seen < _DECISIONS:
        more: dict[str, Any] = {"before": before} if before else {}
        page = api.get("/v1/log/search", q=f"AccessDecided permit {agent}", limit=200, **more)
        found |= {event["data"]["tool"] for event in page["items"] if event["data"].get("agent") == agent}
        before, seen = page["next"], seen + len(page["items"])
    return frozenset(found)


def _described(obj: Context, file: File, things: Sequence[Thing], start: bool) -> dict[str, Any]:
    """What servers say of their tools, by their name in the file; one that does not answer is left out."""
    from remit.discover.adoption import servers
    from remit.domain.discovery import Noun
    from remit_client import RemitError

    chosen = {thing.name for thing in things if thing.noun is Noun.MCP_SERVER}
    found: dict[str, Any] = {}
    for name, plain, table, _, _ in servers.tables(file, chosen) if start else ():
        where = {"command": tuple(table["command"])} if "command" in table else {"url": table.get("url", "")}
        if table:
            obj.out.say(f"asking {name}: {' '.join(table.get('command', ())) or table['url']}")
            try:
                found[name] = obj.parts.describe(plain, **where)
            except RemitError as failure:
                obj.out.say(f"{name} did not answer: {failure}")
    return found


def _tables(made: Draft, owner: str, before: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    import tomllib

    try:
        people = tomllib.loads(before.get("remit.toml", "")).get("people", {})
    except tomllib.TOMLDecodeError:
        people = {}
    return {**({f"people.{owner}": {}} if owner and owner not in people else {}), **made.tables}


def _check_catalogue(files: Mapping[str, str]) -> None:
    """It is a catalogue, but for an owner if nobody is named yet."""
    from remit.domain.errors import BadCatalogue
    from remit.formats.catalogue import parse

    try:
        parse(files)
    except BadCatalogue as bad:
        raise Failure(f"nothing was written: {bad.message}", Exit.ERROR, next_step=bad.next_step) from bad


def _check_secrets(file: File, after: Mapping[str, str], before: Mapping[str, str]) -> None:
    """Whatever the drafts did: no value that a reader of secrets found in the file is in what would be written."""
    from remit.discover import READERS

    new = "".join(text.removeprefix(before.get(path, "")) for path, text in after.items() if text != before.get(path))
    for *_, secret in (one for reader in READERS if (read := reader(file)) for one in read.secrets):
        if len(secret) >= _SHORTEST and (secret in new or ascii(secret)[1:-1] in new):
            raise Failure("nothing was written: a secret of the file would be in it", Exit.ERROR)


def _steps(made: Draft, owner: str, into: Path) -> list[str]:
    confirm = [] if owner else [f"remit owner confirm {made.name} --owner NAME --into {into}"]
    secrets = [f"remit secret put {one.secret}" for one in made.credentials]
    return [*confirm, *secrets, *made.steps, f"remit plan {into}"]


def _talk(value: Mapping[str, Any], proposals: Sequence[Proposal]) -> list[str]:
    lines = [f"not carried over: {line}" for line in islice(value["left"], 40)]
    lines += [f"still to say: {line}" for line in value["open"]]
    if not value["owner"]:
        lines += [f"could answer for it: {p.who}  ({p.source}, {p.place})" for p in proposals]
    return [*lines, *(f"next: {line}" for line in value["next"])]
