"""TOML as we write it into a catalogue, of values that strangers chose.

Every text is one basic string with nothing in it that an eye would miss: what is not printable ASCII is written as an
escape, so neither a line nor a reviewer's reading can be changed from inside of a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST = 200


def text(value: str) -> str:
    """One basic string; half a surrogate pair, which TOML cannot hold, becomes U+FFFD."""
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if letter.isascii() and letter.isprintable():
        return letter
    code = 0xFFFD if "\ud800" <= letter <= "\udfff" else ord(letter)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def value(one: Any) -> str:
    """A text, whole number, truth value, list, or table, which is written inline."""
    match one:
        case bool():
            return "true" if one else "false"
        case int():
            return str(one)
        case str():
            return text(one)
        case Mapping():
            return "{ " + ", ".join(f"{key(name)} = {value(part)}" for name, part in one.items()) + " }"
        case Sequence():
            return "[" + ", ".join(map(value, one)) + "]"
    raise TypeError(f"{type(one).__name__} is nothing that a catalogue holds")


def key(name: str) -> str:
    """A key, quoted unless it is a plain word."""
    return name if _BARE.fullmatch(name) else text(name)


def pairs(table: Mapping[str, Any]) -> str:
    """One line an entry."""
    return "".join(f"{key(name)} = {value(one)}\n" for name, one in table.items())


def comment(words: str) -> str:
    """One line of comment, however many somebody put into it."""
    shown = "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in words[:_LONGEST])
    return f"# {shown}{'...' if len(words) > _LONGEST else ''}\n"
