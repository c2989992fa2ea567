"""`remit scan`: what agents, MCP servers, pipelines and secrets are here. Needs no server and asks nobody."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from remit.domain.discovery import Flaw, Noun, Rule, Scan, Severity, first_to_do, together

from .app import Context
from .output import plain

_WORDS = [severity.word for severity in Severity]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--git", is_flag=True, help="Every commit of the repository too.")
@click.option("--home", is_flag=True, help="The configurations of assistants in your home folder, and what runs now.")
@click.option(
    "--cloud",
    "exports",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An export of a cloud, a cluster or a database.",
)
@click.option("--verify", is_flag=True, help="Ask PostgreSQL, Redis and AWS whether what was found is still good.")
@click.option("--own", is_flag=True, help="Only our own readers; ask neither kingfisher nor detect-secrets.")
@click.option(
    "--report", is_flag=True, help="Tell the server at REMIT_URL, by digests, so that it knows its own again."
)
@click.option("--format", "shape", type=click.Choice(["text", "json", "sarif", "html"]), default="text")
@click.option("--output", type=click.Path(path_type=Path), help="Write the report to this file.")
@click.option(
    "--fail-on", type=click.Choice(_WORDS), default="high", show_default=True, help="Exit with 1 from here on."
)
@click.pass_obj
def scan(
    obj: Context,
    paths: tuple[Path, ...],
    git: bool,
    home: bool,
    exports: tuple[Path, ...],
    verify: bool,
    own: bool,
    report: bool,
    shape: str,
    output: Path | None,
    fail_on: str,
) -> None:
    """Find agents, MCP servers, pipelines that run agents, and secrets.

    Nothing leaves this machine unless you say so, and no secret is printed. Exit codes: 0 nothing from --fail-on up,
    1 something.

    \b
    Examples:
      remit scan                        # this folder
      remit scan --home                 # your assistants' servers, and what runs
      remit scan --cloud account.json   # what is wrong in an export
      remit scan --git --format sarif --output remit.sarif
    """
    from remit.discover import Looked
    from remit.discover import exports as export_flaws
    from remit.discover import scan as look
    from remit.discover.homes import homes
    from remit.discover.rules import RULES
    from remit.discover.values import Fingerprints

    from .api import Api
    from .scan_report import scan_key, send

    started, progress = time.monotonic(), _Progress(obj.out.quiet or obj.out.as_json)
    roots = [*(paths or (() if home or exports else (Path(),))), *(homes(Path.home()) if home else ())]
    key = os.environ.get("REMIT_SCAN_KEY", "").encode() or secrets.token_bytes(32)
    api = Api(obj.person) if report else None
    fingerprints = Fingerprints(key, scan_key(api) if api is not None else b"")
    found = look(roots, fingerprints, Looked(git, home, not own, verify), progress.told)
    found = together(found, export_flaws.scan(exports, time.time_ns() // 1_000_000)) if exports else found
    progress.done()
    took = time.monotonic() - started
    if api is not None:
        told = send(api, found, fingerprints.digests, roots[0] if roots else Path())
        obj.out.say(f"{told} secrets reported to {api.url} by their digests")
    text = _rendered("json" if obj.out.as_json else shape, found, RULES, took)
    if output is not None:
        output.write_text(text)
        obj.out.say(f"{output}: {len(found.flaws)} findings in {found.files} files")
    else:
        click.echo(plain(text), nl=False)
    sys.exit(1 if found.flaws and found.worst >= Severity[fail_on.upper()] else 0)


def _rendered(shape: str, found: Scan, rules: Mapping[str, Rule], took: float) -> str:
    from remit import __version__

    match shape:
        case "json":
            return json.dumps(as_json(found, rules), indent=2) + "\n"
        case "sarif":
            from remit.formats import sarif

            return json.dumps(sarif.encode(found, rules, __version__), indent=2) + "\n"
        case "html":
            from remit.formats import scan_page

            return scan_page.encode(found, rules)
    return "\n".join(_lines(found, rules, took)) + "\n"


def as_json(found: Scan, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Stable keys; severities as words."""
    return {
        "score": found.score,
        "worst": found.worst.word if found.flaws else "none",
        "files": found.files,
        "without": list(found.without),
        "first": [
            {"rule": rule, "fix": rules[rule].fix, "places": len(flaws)} for rule, flaws in first_to_do(found.flaws)
        ],
        "things": [
            {
                "id": id_,
                "root": thing.root,
                "noun": thing.noun.value,
                "name": thing.name,
                "path": thing.place.path,
                "line": thing.place.line,
                "uses": list(thing.uses),
                **thing.facts,
            }
            for id_, thing in zip(found.ids, found.things, strict=True)
        ],
        "findings": [
            {
                "rule": flaw.rule,
                "severity": flaw.severity.word,
                "path": flaw.place.path,
                "line": flaw.place.line,
                "commit": flaw.place.commit,
                "what": flaw.what,
                "fingerprint": flaw.fingerprint,
                "live": flaw.live,
                "fix": rules[flaw.rule].fix,
                "control": rules[flaw.rule].control,
                "reference": rules[flaw.rule].reference,
            }
            for flaw in found.flaws
        ],
    }


def _lines(found: Scan, rules: Mapping[str, Rule], took: float) -> list[str]:
    counted = {noun: sum(1 for thing in found.things if thing.noun is noun) for noun in Noun}
    seen = ", ".join(f"{n} {noun.value}{'s' if n != 1 else ''}" for noun, n in counted.items() if n) or "no agents"
    lines = [f"Score {found.score} of 100. {found.files} files in {took:.1f} s: {seen}.", ""]
    todo = first_to_do(found.flaws)
    if todo:
        lines.append("First:")
        for n, (rule, flaws) in enumerate(todo, 1):
            lines += [f"  {n}. {rules[rule].title} ({len(flaws)}×). {rules[rule].fix}"]
        lines.append("")
    for id_, thing in zip(found.ids[:40], found.things[:40], strict=True):
        about = ", ".join(f"{key} {value}" for key, value in thing.facts.items())
        lines.append(f"  {id_}  {thing.noun.value} {thing.name}  {thing.place}  {about}"[:200])
    lines += [f"  … and {len(found.things) - 40} more; --json has all."] if len(found.things) > 40 else []
    lines += [""] if found.things else []
    for severity in reversed(Severity):
        some = [flaw for flaw in found.flaws if flaw.severity is severity]
        if some and severity is not Severity.NOTE:
            lines += [f"{severity.word.upper()} ({len(some)})", *_some(some), ""]
    notes = sum(1 for flaw in found.flaws if flaw.severity is Severity.NOTE)
    lines += [f"{notes} notes; --json has them."] if notes else []
    lines += [f"Not looked at: {why}" for why in found.without]
    return lines


def _some(flaws: Sequence[Flaw], most: int = 25) -> list[str]:
    good = {"yes": "  STILL GOOD", "no": "  no longer good", "": ""}
    shown = [f"  {flaw.place}  {flaw.what}{good[flaw.live]}  [{flaw.rule}]" for flaw in flaws[:most]]
    return [*shown, f"  … and {len(flaws) - most} more"] if len(flaws) > most else shown


class _Progress:
    """One line on standard error, on a terminal, after the first second."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._from = time.monotonic()
        self._shown = False

    def told(self, what: str, files: int) -> None:
        if not self._quiet and sys.stderr.isatty() and time.monotonic() - self._from > 1:
            self._shown = True
            click.echo(f"\r{what}{f' {files} files' if files else ''}…\x1b[K", err=True, nl=False)

    def done(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
