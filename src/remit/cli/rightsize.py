"""`remit rightsize`: the narrower catalogue that what was really done would have been enough for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .output import ago, table

_FILE = re.compile(r"purposes/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}\.toml")


@click.command()
@click.argument("name", default="")
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="By the last so many days.")
@click.option("--force", is_flag=True, help="Also where little was seen.")
@click.option(
    "--write", "folder", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Into this folder."
)
@click.option("--dry-run", is_flag=True, help="Print the diff and write nothing, also with --write.")
@click.pass_obj
def rightsize(obj: Context, name: str, days: int, force: bool, folder: Path | None, dry_run: bool) -> None:
    """Propose what the purposes of NAME (an agent or a purpose; none: all) could do without.

    \b
    Only ever narrower. Held and denied calls are no use. Real calls of that time are decided again by what is proposed,
    and what would refuse one stays:
      remit rightsize invoices --days 90
      remit rightsize invoice-bot --write . && git diff && remit plan . && remit apply .
    """
    api = Api(obj.person)
    found = api.get("/v1/rightsize", of=name, days=days, force="yes" if force else "")
    if folder is not None and not dry_run and found["files"]:
        write_files(api, folder, found)
        obj.out.say(f"Wrote {', '.join(sorted(found['files']))} in {folder}. Review it, then: remit plan {folder}")
    obj.out.one(found, "\n".join([*map(_told, found["items"]), *found["says"]]))


def write_files(api: Api, folder: Path, found: Mapping[str, Any]) -> None:
    """Over files that are exactly what is in force, and nothing else."""
    present = api.get("/v1/catalogue")
    if present["digest"] != found["against"]:
        raise Failure("the catalogue has changed meanwhile", Exit.ERROR, next_step="Run it again.")
    for name in found["files"]:
        if not _FILE.fullmatch(name):
            raise Failure(f"the server names a file {name!r}, which is no purpose's", Exit.ERROR)
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != present["files"][name]:
            step = "Bring the folder and what is in force together first: remit plan shows how they differ."
            raise Failure(f"{path} is not what is in force", Exit.ERROR, next_step=step)
    for name, text in found["files"].items():
        (folder / name).write_text(text, encoding="utf-8")


def _told(one: Mapping[str, Any]) -> str:
    seen = one["seen"]
    lines = [f"{one['purpose']}: {seen['tasks']:,} tasks in {seen['days']} days, at most {seen['calls']:,} calls"]
    rows = [
        [use["tool"], use["agent"], *(_count(use[n]) for n in ("permitted", "held", "denied")), _last(use)]
        for use in one["uses"]
    ]
    heads = ["TOOL", "AGENT", "PERMITTED", "HELD", "DENIED", "LAST PERMIT"]
    lines += [f"  {line}" for line in table(heads, rows)] if rows else []
    lines += [f"  {sentence}" for sentence in one["kept"]]
    lines += [f"  Could lose: {', '.join(one['loses']) or 'nothing'}."]
    return "\n".join([*lines, "", *([one["diff"]] if one["diff"] else [])])


def _count(number: int) -> str:
    return f"{number:,}" + ("+" if number >= 1000 else "")


def _last(use: Mapping[str, Any]) -> str:
    return ago(use["last_permit"]) if use["last_permit"] else "never"
