"""Data on standard output, talk on standard error; tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click


class Output:
    """How this run speaks: JSON or text, quiet or not."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def say(self, text: str) -> None:
        """Talk: to standard error, unless quiet or speaking JSON."""
        if not (self.quiet or self.as_json):
            click.echo(plain(text), err=True)

    def say_as(self, prefix: str) -> Callable[[str], None]:
        """Talk with a prefix, for what shares standard error with another program; nobody need listen."""

        def told(text: str) -> None:
            with suppress(OSError):
                self.say(prefix + text)

        return told

    def one(self, value: Mapping[str, Any], text: str = "") -> None:
        """Print one object."""
        click.echo(_json(value) if self.as_json else plain(text or _pairs(value)))

    def many(self, items: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, empty: str) -> None:
        """Print a list: JSON lines, or a table of `columns` (heading → dotted path)."""
        if self.as_json:
            for item in items:
                click.echo(_json(item))
        elif not items:
            self.say(empty)
        else:
            rows = [[_cell(_dig(item, path), path) for path in columns.values()] for item in items]
            click.echo(plain("\n".join(table([*columns], rows))))


def _json(value: Any) -> str:
    """One line; half a surrogate pair, as names of files and of strangers have it, stays an escape."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Align columns with two spaces; nothing is ever truncated."""
    lines = [list(map(str, headings)), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [click.style(text[0], dim=True) if colour() else text[0], *text[1:]]


def colour() -> bool:
    """Only on a terminal, and never against NO_COLOR."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


_SHADES = {"permit": "green", "hold": "yellow", "deny": "red", "live": "green", "ending": "yellow", "frozen": "red"}
_PAINTED = "|".join(re.escape(click.style(word, fg=shade)) for word, shade in _SHADES.items())
_HEADING = r"\A\x1b\[2m[^\x1b\n]*\x1b\[0m"
_UNSAID = re.compile(rf"({_PAINTED}|{_HEADING})|[^\n]", re.DOTALL)


def paint(word: str) -> str:
    """Colour means state and nothing else."""
    return click.style(word, fg=_SHADES[word]) if colour() and word in _SHADES else word


def plain(text: str) -> str:
    """What a terminal does not act on, and an eye does not miss: all that cannot be seen is spelled out.

    Values come from agents and from what they read; a value with an invisible letter in it is not what it looks like.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSAID.sub(lambda m: m[0] if m[1] or m[0].isprintable() else ascii(m[0])[1:-1], text)


def ago(instant_ms: int, now: float | None = None) -> str:
    """`12 s ago`, `in 4 min`; the exact time is in `--json`."""
    if not instant_ms:
        return "-"
    seconds = (now if now is not None else time.time()) - instant_ms / 1000
    ahead, seconds = seconds < 0, abs(seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size or unit == "s":
            amount = f"{int(seconds // size)} {unit}"
            return f"in {amount}" if ahead else f"{amount} ago"
    return "now"  # pragma: no cover - the loop always returns


def _dig(item: Any, path: str) -> Any:
    for part in path.split("."):
        item = item.get(part, "") if isinstance(item, Mapping) else ""
    return item


def _cell(value: Any, path: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if path.endswith("_at") or path == "deadline":
        return ago(value) if isinstance(value, int) else "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return paint(str(value)) if value not in ("", None) else "-"


def _pairs(value: Mapping[str, Any]) -> str:
    width = max((len(key) for key in value), default=0)
    lines: list[str] = []
    for key, part in value.items():
        if isinstance(part, Mapping | list):
            part = json.dumps(part, ensure_ascii=False)
        elif (key.endswith("_at") or key == "deadline") and isinstance(part, int):
            part = ago(part)
        lines.append(f"{key.ljust(width)}  {part}")
    return "\n".join(lines)
