"""`remit backup`: copies of the store, whether they are good, and how one is put back without undoing a revocation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .app import Context
from .exits import Exit, Failure
from .settings import effective

FILE = click.Path(path_type=Path, dir_okay=False)
KEPT = click.Path(path_type=Path, dir_okay=False, exists=True)


def _where(command: Any) -> Any:
    for option in (
        click.option("--trust-domain", help="As the server has it.  [REMIT_TRUST_DOMAIN]"),
        click.option("--database", help="postgresql://… instead of embedded SQLite.  [REMIT_DATABASE]"),
        click.option("--data", type=click.Path(path_type=Path), help="Where the database and keys live.  [REMIT_DATA]"),
    ):
        command = option(command)
    return command


def _settings(flags: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in flags.items() if value is not None}
    return {name: value for name, (value, _) in effective(given).items()}


@click.group()
def backup() -> None:
    """Copies of the store. The root key is in none of them: keep it elsewhere (`remit key ceremony`)."""


@backup.command()
@click.argument("file", type=FILE)
@_where
@click.pass_obj
def create(obj: Context, /, file: Path, **flags: Any) -> None:
    """Copy the SQLite store to FILE, whole, while the server runs.

    \b
    With --database use PostgreSQL's own: pg_dump, or base backups and its write-ahead log.
      remit backup create remit-$(date +%F).db && remit log checkpoint > remit-$(date +%F).checkpoint
    """
    from remit.store.backup import create as copy

    settings = _settings(flags)
    if settings["database"]:
        step = "pg_dump -Fc, or pg_basebackup and WAL archiving; then `remit backup verify` on what they give back."
        raise Failure("PostgreSQL is backed up with its own tools", Exit.USAGE, next_step=step)
    size = copy(settings["data"] / "remit.db", file)
    obj.out.one({"file": str(file), "bytes": size}, f"Wrote {file} ({size:,} bytes). The root key is not in it.")


@backup.command()
@click.argument("file", type=KEPT, required=False)
@click.option("--checkpoint", "older", type=KEPT, multiple=True, help="One you kept: the log must go on from it.")
@_where
@click.pass_obj
def verify(obj: Context, /, file: Path | None, older: tuple[Path, ...], **flags: Any) -> None:
    """Check FILE, or the database: its log, its tables against its events, its keys under the root key.

    \b
      remit backup verify remit-2027-01-15.db --checkpoint remit-2027-01-15.checkpoint
      remit backup verify --database postgresql://…/restored_copy
    """
    notes = [path.read_text(encoding="utf-8") for path in older]
    found = obj.parts.check_store(file=file, older=notes, **_settings(flags))
    told = {"ok": not found.problems, "size": found.size, "root": found.root, "envelopes": found.opened}
    if found.problems:
        more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
        if obj.out.as_json:
            obj.out.one({**told, "problems": list(found.problems)})
        raise Failure(f"NOT good: {found.problems[0]}{more}", Exit.ERROR)
    text = f"Good: {found.size} events under the checkpoint, every row explained, {found.opened} envelopes open."
    obj.out.one(told, text)


@backup.command()
@click.argument("file", type=KEPT, required=False)
@click.option("--known", type=KEPT, help="The newest checkpoint that anybody kept, to say in the log what is gone.")
@_where
@click.pass_obj
def restore(obj: Context, /, file: Path | None, known: Path | None, **flags: Any) -> None:
    """Put FILE in the place of the SQLite store; or, without FILE, make safe what other tools have put back.

    \b
    Stop every server first. What was ended since the backup stays ended: every open task ends, every credential dies,
    also those that the backup knows nothing of, and everything is frozen until you say otherwise.
      remit backup restore remit-2027-01-15.db
      remit backup restore --database postgresql://…/remit
    """
    settings = _settings(flags)
    if file is not None and settings["database"]:
        raise Failure("a FILE is an SQLite store; restore PostgreSQL with its own tools first", Exit.USAGE)
    note = known.read_text(encoding="utf-8") if known else ""
    row, gone, aside = obj.parts.restore(file=file, known=note, by="restore", **settings)
    told = {"size": row.size, "known": row.known, "lost": row.lost, "void": gone, "aside": str(aside or "")}
    lost = f"{row.lost} events that were seen before are gone." if row.known else "Nobody kept what was there before."
    lines = [f"The log goes on at {row.size} events. {lost}"]
    lines += [
        f"Void now: {', '.join(f'{count} {kind}' for kind, count in gone.items() if count) or 'nothing was open'}."
    ]
    lines += [f"The store that was there is {aside}."] if aside else []
    lines += [
        "Everything is frozen. Next: start the server; `remit doctor` says when issuers have been compared;",
        "`remit apply` the newest catalogue; freeze again what was frozen; then `remit unfreeze everything`.",
    ]
    obj.out.one(told, "\n".join(lines))
