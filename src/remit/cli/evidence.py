"""`remit evidence`: what enforces each control, whether it is in force, when it last acted, and the proof."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from remit.domain.errors import ProofInvalid
from remit.govern.evidence import page, verify
from remit.govern.evidence.frameworks import NAMES
from remit.govern.evidence.report import STATUSES

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .output import ago, table

_SPAN = re.compile(r"([1-9][0-9]{0,4})(d|h)\Z", re.ASCII)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(invoke_without_command=True)
@click.option("--framework", "frameworks", multiple=True, type=click.Choice(NAMES), help="Only this one; repeatable.")
@click.option("--since", default="", metavar="WHEN", help="Count since then: 90d, 24h, or 2026-01-01 (UTC).")
@click.option("--out", type=FILE, help="Write the report and its proof, as JSON: what `verify` checks.")
@click.option("--html", type=FILE, help="Write it as one page to read and to print; `verify` checks that too.")
@click.option("--oscal", type=FILE, help="Write it as OSCAL assessment results, JSON.")
@click.pass_context
def evidence(
    ctx: click.Context, frameworks: tuple[str, ...], since: str, out: Path | None, html: Path | None, oscal: Path | None
) -> None:
    """Say what enforces each control, whether it is in force now, when it last acted, and prove it.

    \b
      remit evidence
      remit evidence --framework asi --since 90d --html evidence.html
      remit evidence verify evidence.html --key KEY
    """
    if ctx.invoked_subcommand is not None:
        return
    obj: Context = ctx.obj
    found = Api(obj.person).post("/v1/evidence", {"frameworks": list(frameworks), "since": _instant(since)})
    for path, write in ((out, _json), (html, page.render), (oscal, _oscal)):
        if path is not None:
            path.write_text(write(found), encoding="utf-8")
            obj.out.say(f"wrote {path}")
    obj.out.one(found, _summary(found["report"]))


def _json(found: dict[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def _oscal(found: dict[str, Any]) -> str:
    from remit.formats import oscal

    return json.dumps(oscal.assessment_results(found), ensure_ascii=False, indent=1) + "\n"


def _instant(text: str) -> int:
    """In ms; 0 for ever."""
    if not text:
        return 0
    if span := _SPAN.match(text):
        return int((time.time() - int(span[1]) * (86_400 if span[2] == "d" else 3_600)) * 1000)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as bad:
        raise Failure(
            f"--since {text!r} is neither a time span nor a date", Exit.USAGE, next_step="90d, 2026-01-01"
        ) from bad
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _summary(report: dict[str, Any]) -> str:
    counts = report["summary"]["controls"]
    rows = [[one["name"], *(str(counts[one["id"]][status]) for status in STATUSES)] for one in report["frameworks"]]
    lines = table(["FRAMEWORK", *(status.upper() for status in STATUSES)], rows)
    mechanisms = [
        [name, one["state"], f"{one['acted']:,}", ago(one["last_at"]), one["says"]]
        for name, one in sorted(report["mechanisms"].items())
    ]
    lines += ["", *table(["MECHANISM", "NOW", "ACTED", "LAST", "SEEN BY"], mechanisms)]
    lines += ["", *(f"Overdue: {said}" for said in report["summary"]["overdue"])]
    return "\n".join(lines).rstrip()


@evidence.command("verify")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--key", "key_text", required=True, help="The log's public key, or a file that holds it.")
@click.option(
    "--log", "log_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="An exported log."
)
@click.option("--max-age", type=click.IntRange(1), metavar="DAYS", help="Refuse a report that is older.")
@click.pass_obj
def verify_(obj: Context, file: Path, key_text: str, log_file: Path | None, max_age: int | None) -> None:
    """Check a report, JSON or HTML, offline; with an exported log, count again.

    \b
      remit evidence verify evidence.html --key remit.local/log+1a2b3c4d+AQ…
      remit evidence verify evidence.json --key log.key --log log.jsonl
    """
    from remit.formats.tlog import parse_checkpoint

    from .log import key_option

    key = key_option(key_text)
    try:
        data, as_page = page.opened(file.read_bytes())
        found = verify.verify(data, key)
        drawn = page.matches(as_page, found, data) if as_page else True
        if log_file is not None:
            head = parse_checkpoint(
                log_file.with_name(log_file.name + ".checkpoint").read_bytes(), [key], origin=key.name
            )
            verify.recounted(found, log_file.read_bytes().split(b"\n")[:-1], head)
    except ProofInvalid as bad:
        raise Failure(f"NOT verified: {bad.message}", Exit.ERROR) from bad
    except FileNotFoundError as missing:
        raise Failure(
            f"{missing.filename} is not there", Exit.USAGE, next_step="`remit log export` writes both."
        ) from missing
    days = (time.time() * 1000 - found.made_at) / 86_400_000
    if max_age is not None and days > max_age:
        raise Failure(f"NOT verified: the report is {int(days)} days old, and {max_age} are allowed", Exit.ERROR)
    obj.out.one(_found(found, log_file is not None, drawn), _said(found, log_file, drawn))


def _found(found: verify.Verified, log: bool, drawn: bool) -> dict[str, Any]:
    return {
        "ok": True,
        "log": found.checkpoint.origin,
        "made_at": found.made_at,
        "given_to": found.given_to,
        "event": found.place,
        "counted": dict(found.report["counted"]),
        "size": found.checkpoint.size,
        "recounted": log,
        "same_release": found.same_release,
        "page_checked": drawn,
    }


def _said(found: verify.Verified, log: Path | None, drawn: bool) -> str:
    start, end = found.report["counted"]["start"], found.report["counted"]["end"]
    made = datetime.fromtimestamp(found.made_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [
        f"Verified: nothing was altered since it was given to {found.given_to} on {made}, {ago(found.made_at)}.",
        f"It says how things were then: events {start:,} to {end:,} of {found.checkpoint.origin} were counted.",
        f"{len(found.report['events'])} events, and event {found.place} which has its digest, are in that log.",
    ]
    if log is not None:
        lines.append("Every count was made again over the exported log, which goes on from the same events.")
    else:
        lines.append("Counts are the server's own; with `remit log export` and --log they are made again.")
    if not found.same_release:
        lines.append("It is of another release: that its controls name the right mechanisms was not checked.")
    if not drawn:
        lines.append("The page around it is of another release and was not checked; what it has in it was.")
    return "\n".join(lines)
