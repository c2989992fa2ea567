"""A purpose's file without its excess, as a person would have changed it, and the diff to review."""

from __future__ import annotations

import difflib
from typing import Any

from remit.domain.purpose import Purpose
from remit.formats import toml_edit

from .excess import Excess


def file_of(purpose: str) -> str:
    """Where the catalogue has it."""
    return f"purposes/{purpose}.toml"


def without(purpose: Purpose, text: str, excess: Excess) -> str:
    """The file with that taken out, comments and form kept; `BadCatalogue` where that cannot be done exactly."""
    values: dict[str, Any] = {}
    if excess.agents:
        values["agents"] = [name for name in purpose.agents if name not in excess.agents]
    if excess.environments:
        values["environments"] = [name for name in purpose.environments if name not in excess.environments]
    if excess.sensitivity:
        values["max_sensitivity"] = excess.sensitivity
    if excess.max_calls:
        values["max_calls"] = excess.max_calls
    if excess.max_duration:
        values["max_duration"] = f"{excess.max_duration // 60_000}m"
    grants = {n for n, grant in enumerate(purpose.grants) if grant.tool in excess.tools}
    credentials = {n for n, rule in enumerate(purpose.credentials) if rule.name in excess.credentials}
    drop = {name: which for name, which in (("grants", grants), ("credentials", credentials)) if which}
    return toml_edit.edited(file_of(purpose.name), text, values, drop)


def diff(file: str, old: str, new: str) -> str:
    """Unified, as `git apply` and `patch -p1` take it; empty when nothing differs."""
    lines = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{file}", f"b/{file}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
