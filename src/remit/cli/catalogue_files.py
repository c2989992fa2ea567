"""New entries into a catalogue's folder: whole files that were not there, and tables at the end of `remit.toml`."""

from __future__ import annotations

import contextlib
import os
import shutil
import tomllib
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Any

from remit.formats.toml_text import key, pairs

from .exits import Exit, Failure

SETTINGS = "remit.toml"


def added(
    before: Mapping[str, str], files: Mapping[str, str], tables: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """The catalogue with these files and tables in it; nothing that is there is changed, or `Failure`.

    A tool that was reviewed stays as it is; anything else of that name is somebody else's, and nothing is added.
    """
    after = dict(before)
    for path, text in files.items():
        if path in before and not path.startswith("tools/"):
            step = "Call it something else: --name NAME."
            raise Failure(f"{path} is there already, and is not overwritten", next_step=step)
        after.setdefault(path, text)
    text = _with_tables(before.get(SETTINGS, ""), tables)
    return {**after, SETTINGS: text} if text else after


def _with_tables(before: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    try:
        known = tomllib.loads(before)
    except tomllib.TOMLDecodeError as bad:
        raise Failure(f"{SETTINGS}: {bad}", next_step="Mend it first: `remit plan` says where.") from bad
    more = ""
    for header, table in tables.items():
        noun, _, name = header.partition(".")
        there = known.get(noun, {}).get(name) if isinstance(known.get(noun, {}), dict) else ...
        if there is not None and there != dict(table):
            step = "Make it the same, or rename one of them, and adopt again."
            raise Failure(f"{SETTINGS} has another [{header}] already", next_step=step)
        if there is None:
            more += f"\n[{noun}.{key(name)}]\n{pairs(table)}"
    after = before + ("\n" if before and not before.endswith("\n") else "") + (more if before else more.lstrip("\n"))
    try:
        tomllib.loads(after)
    except tomllib.TOMLDecodeError as bad:
        raise Failure(f"{SETTINGS} cannot be added to ({bad})", next_step=f"Add yourself:\n{more}") from bad
    return after


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """As `git diff` says it."""
    out = ""
    for path in sorted(after):
        if before.get(path) != after[path]:
            old, new = before.get(path, "").splitlines(True), after[path].splitlines(True)
            name = f"a/{path}" if path in before else "/dev/null"
            out += "".join(unified_diff(old, new, name, f"b/{path}"))
    return out


def write(folder: Path, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Put down what differs, new files first and `remit.toml` last. What came up meanwhile is never overwritten."""
    made: list[Path] = []
    try:
        for path in sorted(after.keys() - before.keys() - {SETTINGS}):
            target = folder / path
            if target.parent.is_symlink():
                raise Failure(f"{target.parent} is a link, and nothing is written through one", Exit.ERROR)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8", newline="") as file:
                made.append(target)
                file.write(after[path])
        for path in sorted(p for p in after if (p in before or p == SETTINGS) and after[p] != before.get(p)):
            _replace(folder / path, before.get(path), after[path])
    except (OSError, Failure) as failure:
        for target in made:
            with contextlib.suppress(OSError):
                target.unlink()
        said = failure.message if isinstance(failure, Failure) else str(failure)
        raise Failure(f"nothing was written: {said}", Exit.ERROR) from failure
    return [path for path in sorted(after) if after[path] != before.get(path)]


def _replace(target: Path, before: str | None, after: str) -> None:
    """Whole or not at all, and only over what was read."""
    if target.is_symlink():
        raise Failure(f"{target} is a link, and nothing is written through one", Exit.ERROR)
    if before is None:
        with target.open("x", encoding="utf-8", newline="") as file:
            file.write(after)
        return
    if target.read_text(encoding="utf-8") != before:
        raise Failure(f"{target} was changed meanwhile", Exit.ERROR)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    with beside.open("x", encoding="utf-8", newline="") as file:
        file.write(after)
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(target, beside)
    os.replace(beside, target)
