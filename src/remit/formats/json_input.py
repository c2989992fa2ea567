"""The one reader of JSON from outside: strict, bounded, and saying where it went wrong (RFC 8259, RFC 7493)."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

from remit.domain.errors import BadField, Malformed, TooLarge

T = TypeVar("T")
SAFE_INTEGER = 2**53 - 1
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def parse(data: bytes, *, limit: int, depth: int = 16) -> Any:
    """Parse JSON text of at most `limit` bytes and `depth` levels.

    Refused: duplicate keys, NaN and infinities, integers beyond ±(2^53-1), NUL and lone surrogates in text,
    anything that is not UTF-8. Raises `TooLarge`, `Malformed`, or `BadField` with a path.
    """
    if len(data) > limit:
        raise TooLarge(f"The body is over {limit} bytes.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as bad:
        raise Malformed("The body is not UTF-8.", inside=str(bad)) from bad
    _check_depth(data, depth)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as bad:
        raise Malformed(f"The body is not JSON: {bad.msg} at line {bad.lineno} column {bad.colno}.") from bad
    except (ValueError, RecursionError) as bad:
        raise Malformed("The body is not JSON: a number has too many digits.") from bad
    _check(value, "")
    return value


def typed(value: Any, kind: type[T]) -> T:
    """Convert a parsed value to a msgspec Struct or dataclass; the first misfit raises `BadField` with its path."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as bad:
        message, _, path = str(bad).partition(" - at `")
        field = path.rstrip("`").removeprefix("$").removeprefix(".") or "body"
        unknown = re.search(r"unknown field `([^`]*)`", message)
        if unknown:
            field = f"{field}.{unknown[1]}" if field != "body" else unknown[1]
            raise BadField(field[:200], "is not a field here") from bad
        missing = re.search(r"missing required field `([^`]*)`", message)
        if missing:
            field = f"{field}.{missing[1]}" if field != "body" else missing[1]
            raise BadField(field, "is required") from bad
        raise BadField(field[:200], _plain(message)) from bad


def _plain(message: str) -> str:
    return re.sub(r"`", "'", message[:1].lower() + message[1:])


def _check_depth(data: bytes, limit: int) -> None:
    if data.count(b"[") + data.count(b"{") <= limit:
        return
    level = 0
    for token in _STRUCTURE.finditer(data):
        first = token[0][:1]
        if first in b"[{":
            level += 1
            if level > limit:
                raise TooLarge(f"The body is nested deeper than {limit} levels.")
        elif first in b"]}":
            level -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadField(key[:200], "appears twice in one object")
            seen.add(key)
    return found


def _constant(name: str) -> Any:
    raise Malformed(f"The body is not JSON: {name} is not a number there.")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)


def _check(value: Any, path: str) -> None:
    if isinstance(value, str):
        if "\x00" in value or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
            raise BadField(path or "body", "has a character that is not allowed (NUL or half a surrogate pair)")
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
            raise BadField(path or "body", "is a whole number beyond ±(2^53-1)")
    elif isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            raise BadField(path or "body", "is too large a number")
    elif isinstance(value, dict):
        for key, part in value.items():
            _check(key, path or "body")
            _check(part, f"{path}.{key}"[:200] if path else key[:200])
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _check(part, f"{path}[{index}]"[:200])
