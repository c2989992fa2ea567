"""Path templates such as `/v1/customers/{customer}/refunds`: which requests they mean, and never two at once.

A path is taken apart once and put together again from its parts, so what was decided on is what is sent. `{name}` is
one segment, a last `{name...}` one or more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from remit.domain.errors import BadField

LIMIT = 8192
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]+\Z")
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})(\.\.\.)?\}\Z")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_SAFE = "-._~:@!$'()*,"


@dataclass(frozen=True, slots=True)
class Segment:
    """A literal, or a hole by name; `several` for a last `{name...}`."""

    text: str = ""
    hole: str = ""
    several: bool = False

    @property
    def rank(self) -> int:
        """The smaller, the more it says."""
        return 2 if self.several else 1 if self.hole else 0


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed path template."""

    segments: tuple[Segment, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """`BadField` for anything that is not plainly one."""
        if not text.startswith("/") or len(text) > 1024:
            raise BadField("path", "must begin with '/'")
        found: list[Segment] = []
        parts = text[1:].split("/")
        for index, part in enumerate(parts):
            last, hole = index == len(parts) - 1, _HOLE.match(part)
            if hole:
                if hole[2] and not last:
                    raise BadField("path", f"{part} takes the rest of the path, so it must be the last")
                found.append(Segment(hole=hole[1], several=bool(hole[2])))
            elif (part == "" and last) or (_LITERAL.match(part) and part not in (".", "..")):
                found.append(Segment(part))
            else:
                raise BadField("path", f"{part!r} is not a segment: a plain text, or one {{argument}}")
        holes = [segment.hole for segment in found if segment.hole]
        if len(set(holes)) != len(holes):
            raise BadField("path", "an argument is there twice")
        return cls(tuple(found))

    @property
    def holes(self) -> tuple[str, ...]:
        """The arguments, in order."""
        return tuple(segment.hole for segment in self.segments if segment.hole)

    @property
    def ranks(self) -> tuple[int, ...]:
        """To order templates that mean the same path: the most specific first."""
        return tuple(segment.rank for segment in self.segments)

    def values(self, parts: Sequence[str], *, loosely: bool = False) -> dict[str, str] | None:
        """The arguments in these segments; None when they are not meant. `loosely` takes any case of the literals."""
        several = bool(self.segments) and self.segments[-1].several
        if len(parts) < len(self.segments) or (len(parts) > len(self.segments) and not several):
            return None
        found: dict[str, str] = {}
        for index, segment in enumerate(self.segments):
            if segment.several:
                found[segment.hole] = "/".join(parts[index:])
            elif segment.hole:
                found[segment.hole] = parts[index]
            elif segment.text != parts[index] and not (loosely and segment.text.casefold() == parts[index].casefold()):
                return None
        return None if "" in found.values() else found

    def filled(self, values: dict[str, str]) -> str:
        """The path to send; every value keeps to its segment."""
        found: list[str] = []
        for segment in self.segments:
            if segment.hole:
                value = values[segment.hole]
                for part in value.split("/") if segment.several else [value]:
                    _check(part)
                    found.append(quote(part, safe=_SAFE))
            else:
                found.append(segment.text)
        return "/" + "/".join(found)

    def overlaps(self, other: Template) -> bool:
        """Whether some path is meant by both, in any case of letters."""
        for mine, theirs in zip(self.segments, other.segments, strict=False):
            if mine.several or theirs.several:
                return True
            if not mine.hole and not theirs.hole and mine.text.casefold() != theirs.text.casefold():
                return False
            if (mine.hole and not theirs.text and not theirs.hole) or (theirs.hole and not mine.text and not mine.hole):
                return False  # a hole is never empty, so never the end of `/a/`
        return len(self.segments) == len(other.segments)

    def within(self, other: Template) -> bool:
        """Whether every path that this means, the other means too."""
        for index, theirs in enumerate(other.segments):
            if index >= len(self.segments):
                return False
            mine = self.segments[index]
            if theirs.several:
                return True
            if mine.several or (theirs.text and mine.text.casefold() != theirs.text.casefold()):
                return False
        return len(self.segments) == len(other.segments)


def parts_of(path: str) -> list[str]:
    """A request's path, decoded once, as segments; `BadField` for a path that two readers could read in two ways.

    No empty segment but a last one, no `.` or `..`, no encoded slash, no backslash, no control character, nothing that
    decodes a second time.
    """
    if not path.startswith("/") or len(path) > LIMIT or not path.isascii():
        raise BadField("path", "must begin with '/' and be plain ASCII, of a usable length")
    raw = path[1:].split("/")
    found = [_decoded(part) for part in raw]
    for index, part in enumerate(found):
        if part or index < len(found) - 1:
            _check(part)
    return found


def _decoded(part: str) -> str:
    if "%" in _ESCAPE.sub("", part):
        raise BadField("path", "has a percent sign that escapes nothing")
    try:
        return unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError as bad:
        raise BadField("path", "is not UTF-8") from bad


def _check(part: str) -> None:
    if part in ("", ".", "..") or "/" in part or "\\" in part or not part.isprintable() or _ESCAPE.search(part):
        raise BadField("path", "has a segment that could change the path's shape")
