"""TOML read strictly: every key is asked for by name, and what nobody asked for is an error with its line."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Container, Iterable, Mapping
from difflib import get_close_matches
from enum import IntEnum
from hashlib import sha256
from typing import Any, NoReturn, TypeVar

from remit.domain.errors import BadCatalogue

E = TypeVar("E", bound=IntEnum)
_DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s)?\Z", re.ASCII)
_MISSING = object()


def revision(entry: Any, without: Container[str] = ()) -> str:
    """16 hex digits of what a parsed entry says, `without` some fields; the order of its words does not count."""
    said = {name: value for name, value in dataclasses.asdict(entry).items() if name not in without}
    return sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Section:
    """One TOML table: where it is written, and which of its keys have been asked for."""

    def __init__(self, file: str, source: str, table: Mapping[str, Any], path: tuple[str | int, ...] = ()) -> None:
        self.file = file
        self._source = source
        self._table = table
        self._path = path
        self._asked: set[str] = set()

    @classmethod
    def read(cls, file: str, source: str) -> Section:
        """Parse a file; syntax errors carry tomllib's line."""
        try:
            return cls(file, source, tomllib.loads(source))
        except tomllib.TOMLDecodeError as bad:
            place = re.search(r"at line (\d+)", str(bad))
            line = int(place[1]) if place else source.count("\n") + 1
            raise BadCatalogue(file, line, f"not TOML: {bad}") from bad
        except RecursionError as bad:
            raise BadCatalogue(file, 1, "not TOML: nested too deep") from bad

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def keys(self) -> set[str]:
        """The keys that are there."""
        return set(self._table)

    def knows(self, *keys: str) -> None:
        """These keys may be there; `in` tells whether they are."""
        self._asked.update(keys)

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise about one key of this table."""
        raise BadCatalogue(self.file, self.line(key), problem)

    def line(self, key: str = "") -> int:
        """The line this key, or this table, is written on; the best guess is the file's first line."""
        return _find_line(self._source, self._path, key)

    def done(self) -> None:
        """Raise for the first key that nobody asked for."""
        for key in self._table:
            if key not in self._asked:
                near = get_close_matches(key, self._asked, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(self._asked))}"
                self.fail(key, f"unknown key {key!r}; {hint}")

    def _get(self, key: str, kind: type, word: str, default: Any) -> Any:
        self._asked.add(key)
        value = self._table.get(key, _MISSING)
        if value is _MISSING:
            if default is _MISSING:
                near = get_close_matches(key, self._table.keys() - self._asked, 1)
                if near:
                    self.fail(near[0], f"unknown key {near[0]!r}; did you mean {key!r}?")
                raise BadCatalogue(self.file, self.line(), f"{key!r} is missing")
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(key, f"{key!r} must be {word}")
        return value

    def text(self, key: str, default: Any = _MISSING, *, limit: int = 4096) -> str:
        """A text without control characters."""
        value: str = self._get(key, str, "text", default)
        if len(value) > limit or any(ord(c) < 32 and c not in "\n\t" for c in value):
            self.fail(key, f"{key!r} is longer than {limit} characters or has control characters")
        return value

    def regex(self, key: str, default: Any = _MISSING) -> str:
        """A regular expression of at most 500 characters that compiles."""
        pattern = self.text(key, default, limit=500)
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as bad:
            self.fail(key, f"{key!r} is not a regular expression: {bad}")
        return pattern

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value: bool = self._get(key, bool, "true or false", default)
        return value

    def whole(self, key: str, default: Any = _MISSING, *, least: int = 0, most: int = 10**9) -> int:
        """A whole number within bounds."""
        value: int = self._get(key, int, "a whole number", default)
        if not least <= value <= most:
            self.fail(key, f"{key!r} must be {least} to {most}")
        return value

    def texts(self, key: str, default: Any = _MISSING) -> tuple[str, ...]:
        """A list of texts."""
        value = self._get(key, list | tuple, "a list of texts", default)  # type: ignore[arg-type]
        if not all(isinstance(v, str) and 0 < len(v) <= 1024 for v in value) or len(value) > 1000:
            self.fail(key, f"{key!r} must be a list of non-empty texts")
        return tuple(value)

    def duration(self, key: str, default: Any = _MISSING) -> int:
        """`90s`, `15m`, `1h30m`, `7d`: milliseconds."""
        value = self._get(key, str, "a duration such as '15m'", default)
        if value == default and not isinstance(value, str):
            return int(value)
        match = _DURATION.match(value)
        if not match or not value:
            self.fail(key, f"{key!r} must be a duration such as '90s', '15m', '1h30m' or '7d', not {value!r}")
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000

    def word(self, key: str, words: Iterable[str], default: Any = _MISSING) -> str:
        """One of these words."""
        value = self.text(key, default)
        known = list(words)
        if value not in known:
            near = get_close_matches(value, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            self.fail(key, f"{key!r} cannot be {value!r}; {hint}")
        return value

    def enum(self, key: str, kind: type[E], default: Any = _MISSING) -> E:
        """One member of an enum, by its lower-case name."""
        fallback = default.name.lower() if isinstance(default, IntEnum) else default
        return kind[self.word(key, [member.name.lower() for member in kind], fallback).upper()]

    def table(self, key: str) -> Section:
        """A table, empty when absent."""
        value = self._get(key, dict, "a table", {})
        return Section(self.file, self._source, value, (*self._path, key))

    def tables(self, key: str) -> list[Section]:
        """An array of tables, empty when absent."""
        value = self._get(key, list, "a list of tables ([[…]])", [])
        if not all(isinstance(v, dict) for v in value) or len(value) > 1000:
            self.fail(key, f"{key!r} must be a list of tables ([[{key}]])")
        return [Section(self.file, self._source, v, (*self._path, key, i)) for i, v in enumerate(value)]

    def named(self) -> list[tuple[str, Section]]:
        """Every entry of this table, each itself a table."""
        self._asked.update(self._table)
        found: list[tuple[str, Section]] = []
        for key, value in self._table.items():
            if not isinstance(value, dict):
                self.fail(key, f"{key!r} must be a table")
            found.append((key, Section(self.file, self._source, value, (*self._path, key))))
        return found

    def rest(self) -> dict[str, Any]:
        """Everything not asked for yet, as plain values: somebody else checks it."""
        left = {key: value for key, value in self._table.items() if key not in self._asked}
        self._asked.update(left)
        return left


def _find_line(source: str, path: tuple[str | int, ...], key: str) -> int:
    lines = source.splitlines()
    start, rest = 0, list(path)
    while rest:
        header = ".".join(re.escape(str(p)) for p in rest if not isinstance(p, int))
        number = next((p for p in reversed(rest) if isinstance(p, int)), 0)
        at = [i for i, line in enumerate(lines) if re.match(rf"\s*\[\[?\s*{header}\s*\]", line.replace('"', ""))]
        if at:
            start = at[min(number, len(at) - 1)]
            break
        rest.pop()
    wanted = [key, *(str(p) for p in reversed(path[len(rest) :]) if not isinstance(p, int))]
    for name in filter(None, wanted):
        quoted = rf"[\"']?{re.escape(name)}[\"']?"
        for number_, line in enumerate(lines[start:], start + 1):
            if re.match(rf"\s*(\[+[^\]]*\b)?{quoted}\s*[.=\]]", line) or re.search(rf"[{{,]\s*{quoted}\s*=", line):
                return number_
    return start + 1
