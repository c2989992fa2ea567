"""Copies of an SQLite store: taken while it is in use, and put in its place when it is not.

A copy is the state after some commit, whole (SQLite's online backup: what is written meanwhile is copied too, or the
copy begins again). It is durable before it has its name. It holds envelopes only; the root key is not in it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from remit.domain.errors import StoreUnavailable, WrongState

PAGES = 1024


def create(source: Path, target: Path) -> int:
    """Copy the store at `source`, which may be in use, to a new file (0600); returns its size in bytes."""
    if target.exists():
        raise WrongState(f"{target} is there already.", next_step="Choose another name; backups are not overwritten.")
    part = target.with_name(target.name + ".part")
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as live,
            closing(sqlite3.connect(part, timeout=30)) as copy,
        ):
            # One transaction of `live` sees one state; without it each write beside us would begin the copy again.
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM sqlite_master").fetchone()
            live.backup(copy, pages=PAGES)
            copy.execute("PRAGMA journal_mode=DELETE")
        whole(part)
        _durable(part)
        part.replace(target)
        _durable(target.parent)
    except (OSError, sqlite3.Error) as failure:
        raise StoreUnavailable(f"{source} was not copied to {target}.", inside=str(failure)) from failure
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def whole(path: Path) -> None:
    """Raise `StoreUnavailable` if SQLite finds the file damaged, or it is no store of ours."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            db.execute("SELECT 1 FROM events LIMIT 1").fetchone()
    except sqlite3.Error as failure:
        raise StoreUnavailable(f"{path} is not a whole store of Remit's.", inside=str(failure)) from failure
    if found != "ok":
        raise StoreUnavailable(f"{path} is damaged.", inside=str(found)[:200])


def taken(backup: Path, copy: Path) -> Path:
    """A copy of a whole backup beside where it is to go (0600), durable; the backup itself is only read."""
    whole(backup)
    copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-shm"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    os.close(os.open(copy, os.O_RDWR | os.O_CREAT, 0o600))
    shutil.copyfile(backup, copy)
    _durable(copy)
    return copy


def place(copy: Path, at: Path, aside: str) -> Path | None:
    """Put `copy` where the store is, whose files keep their names with `aside` behind; returns where they are now.

    `copy` is gone afterwards. Refused while a process has the store open.
    """
    before = None
    if at.exists():
        _unused(at)
        before = at.with_name(f"{at.name}.{aside}")
        at.replace(before)
    for suffix in ("-wal", "-shm"):  # of a store that was not closed well; the copy must not be read with them
        left = at.with_name(at.name + suffix)
        if left.exists():
            left.replace(at.with_name(f"{at.name}.{aside}{suffix}"))
    copy.replace(at)
    _durable(at.parent)
    return before


def _unused(path: Path) -> None:
    """SQLite leaves WAL mode only when nobody else has the file open."""
    try:
        with closing(sqlite3.connect(path, timeout=0)) as db:
            mode = db.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    except sqlite3.OperationalError as failure:
        mode = str(failure)
    except sqlite3.DatabaseError:  # damaged, which is why there is a restore
        return
    if mode != "delete":
        step = "Stop it first; what it acknowledges from now on would be lost."
        raise WrongState(f"A server has {path} open.", next_step=step)


def _durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
