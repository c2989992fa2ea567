"""Conditions on the claims of a token: a table shaped as the claims are, with the value each must have.

    [attestations.claims]
    repository_id = "1296269"
    [attestations.claims."kubernetes.io".serviceaccount]
    name = "payer"

A claim inside an object is a key inside a table, so that a dot in a name is only a dot. Values are compared by
type and byte for byte: `true` is neither `1` nor `"true"`, and an absent claim equals nothing. One trailing `*` in
a text matches any rest, but never nothing at all before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from remit.domain.identity import Condition

from .toml_source import Section

DEPTH_LIMIT, COUNT_LIMIT, SHOWN = 8, 64, 80
Path: TypeAlias = tuple[str, ...]
Value: TypeAlias = str | bool | int
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def read(s: Section) -> dict[str, Condition]:
    """The conditions of one table; raises `BadCatalogue` with the line of what is wrong."""
    found = _read(s, 1)
    if sum(1 for _ in flatten(found)) > COUNT_LIMIT:
        s.fail("", f"more than {COUNT_LIMIT} conditions on claims")
    return found


def _read(s: Section, depth: int) -> dict[str, Condition]:
    found: dict[str, Condition] = {}
    for name, value in s.rest().items():
        if isinstance(value, dict):
            if depth == DEPTH_LIMIT or not value:
                s.fail(name, f"claim {name!r} is an empty table, or {DEPTH_LIMIT} tables deep")
            found[name] = _read(s.table(name), depth + 1)
        elif isinstance(value, str):
            text = s.text(name)
            if not text or text == "*" or "*" in text[:-1]:
                s.fail(name, f"claim {name!r} needs an exact text, or one that ends in '*' after something")
            found[name] = text
        elif isinstance(value, int):
            found[name] = value
        else:
            s.fail(name, f"claim {name!r} must be a text, a whole number, true, false, or a table of claims")
    return found


def flatten(conditions: Mapping[str, Condition], path: Path = ()) -> Iterator[tuple[Path, Value]]:
    """Every single condition: where the claim is, and what it must be."""
    for name, wanted in conditions.items():
        if isinstance(wanted, Mapping):
            yield from flatten(wanted, (*path, name))
        else:
            yield (*path, name), wanted


def exact(wanted: Value) -> bool:
    """Whether the condition leaves one value only."""
    return not (isinstance(wanted, str) and wanted.endswith("*"))


def look_up(claims: Mapping[str, Any], path: Path) -> Any:
    """The claim at `path`; None when it, or an object on the way, is absent."""
    found: Any = claims
    for name in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def shown(path: Path) -> str:
    """How TOML writes the key: `"kubernetes.io".serviceaccount.name`."""
    return ".".join(name if _BARE.match(name) else json.dumps(name, ensure_ascii=True) for name in path)


def unmet(conditions: Mapping[str, Condition], claims: Mapping[str, Any]) -> list[str]:
    """Every condition that fails, with what was wanted and what was seen, trimmed: for the operator alone.

    Empty when all hold. No conditions at all match nobody.
    """
    every = list(flatten(conditions))
    failed = [
        f"{shown(path)} wanted {_trimmed(wanted)}, saw {_trimmed(look_up(claims, path))}"
        for path, wanted in every
        if not _fits(wanted, look_up(claims, path))
    ]
    return failed if every else ["no conditions"]


def _fits(wanted: Value, value: Any) -> bool:
    if isinstance(wanted, str) and isinstance(value, str) and wanted.endswith("*"):
        return len(wanted) > 1 and value.startswith(wanted[:-1])
    return type(value) is type(wanted) and bool(value == wanted)


def _trimmed(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping | list):
        return "an object" if isinstance(value, Mapping) else "a list"
    text = json.dumps(value[:SHOWN] if isinstance(value, str) else value, ensure_ascii=True)
    return text + "…" if isinstance(value, str) and len(value) > SHOWN else text
