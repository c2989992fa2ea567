"""Change a reviewed TOML file as a person would: what is not changed stays to the byte, comments included.

What comes out is parsed again and must say exactly what was asked for; otherwise it is a `BadCatalogue`.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Collection, Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from remit.domain.errors import BadCatalogue

_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")


def edited(file: str, text: str, values: Mapping[str, Any], drop: Mapping[str, Collection[int]]) -> str:
    """Set these top-level values, and take these entries (by number) out of these arrays of tables."""
    wanted = copy.deepcopy(tomllib.loads(text))
    wanted.update(values)
    for name, numbers in drop.items():
        wanted[name] = [one for n, one in enumerate(wanted[name]) if n not in numbers]
        if not wanted[name]:
            del wanted[name]
    found = _set(text, values)
    for name, numbers in drop.items():
        for n in sorted(numbers, reverse=True):
            found = _without_block(found, name, n)
    if _says(found) != wanted:  # written in a way that lines do not tell: inline, or with brackets inside of texts
        found = _dropped(_set(text, values), drop)
    if _says(found) != wanted:
        raise BadCatalogue(file, 1, "cannot be changed without changing more than was asked for; do it by hand")
    return found


def _set(text: str, values: Mapping[str, Any]) -> str:
    document = tomlkit.parse(text)
    for name, value in values.items():
        old = document.get(name)
        if isinstance(value, list) and isinstance(old, tomlkit.items.Array):
            for n in reversed(range(len(old))):
                if old[n] not in value:
                    del old[n]
        else:
            document[name] = value
    return tomlkit.dumps(document)


def _without_block(text: str, name: str, number: int) -> str:
    """Without the `number`th `[[name]]`, what belongs below it, and the comment right above it."""
    lines = text.splitlines(keepends=True)
    heads = [(n, match[1]) for n, line in enumerate(lines) if (match := _HEADER.match(line))]
    mine = [n for n, head in heads if head == name]
    if number >= len(mine):
        return text
    after = (n for n, head in heads if n > mine[number] and not head.startswith(f"{name}."))
    start, end = _above(lines, mine[number]), next(after, len(lines))
    end = _above(lines, end) if end < len(lines) else end
    return "".join([*lines[:start], *lines[end:]])


def _above(lines: list[str], n: int) -> int:
    """Where the comment right above this line begins."""
    while n and lines[n - 1].lstrip().startswith("#"):
        n -= 1
    return n


def _dropped(text: str, drop: Mapping[str, Collection[int]]) -> str:
    document = tomlkit.parse(text)
    for name, numbers in drop.items():
        for n in sorted(numbers, reverse=True):
            del document[name][n]
        if not document[name]:
            del document[name]
    return tomlkit.dumps(document)


def _says(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, TOMLKitError):
        return None
