"""What a call does to the world: the catalogue's reviewed description of one tool."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from functools import lru_cache

from .errors import BadField
from .flow import Json, Label, Sensitivity, Trust
from .http_route import HttpRoute

# Arguments that say how something is worded, or when, and not to whom, what or how much.
_FREE = re.compile(
    r"(?:^|_)(?:body|content|text|message|description|subject|title|comment|notes?|reason|summary|caption|prompt|query"
    r"|dates?|times?|day|start|end|since|until|before|after)(?:_|$)"
)
_PLAIN = re.compile(r"[\w][\w.,:@/+-]*")
_WORDS = re.compile(r"[^\W_]+")
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")


class Effect(IntEnum):
    """What cannot be taken back is the greatest."""

    READ = 0
    WRITE = 1
    IRREVERSIBLE = 2

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Tool:
    """A catalogue entry.

    `resource` is a template such as `invoice/{invoice}`; `{path...}` takes several segments.
    `schema` is the JSON Schema of the arguments; `matters` names those whose origin decides.
    `("*",)` leaves that to the schema. `says` is what a call does, in words, such as `pay {amount} EUR to {customer}`.
    `words` are those by which a goal that needs this tool can be told.
    `pin` is the digest of the MCP description that was reviewed; empty when the tool is not an MCP tool.
    `reviewed` is that description, as JSON, for whoever reviews the next one; it may be empty.
    `output_trust` says who can write what it returns, `output_fields` which of its fields others can, and
    `output_format` (`json`, `yaml` or empty) how its texts are written. `egress` says that it carries data out.
    `http` is the request that an egress takes for a call of it. `revision` is a digest of the whole entry.
    """

    name: str
    title: str
    effect: Effect
    sensitivity: Sensitivity
    environment: str
    resource: str
    server: str = ""
    egress: bool = False
    output_trust: Trust = Trust.UNTRUSTED
    output_sensitivity: Sensitivity = Sensitivity.INTERNAL
    schema: Mapping[str, Json] = field(default_factory=dict)
    matters: tuple[str, ...] = ("*",)
    says: str = ""
    words: tuple[str, ...] = ()
    output_format: str = ""
    output_fields: Mapping[str, Trust] = field(default_factory=dict)
    pin: str = ""
    revision: str = ""
    reviewed: str = ""
    http: HttpRoute | None = None

    def label(self) -> Label:
        """Return what having read this tool's output means."""
        return Label(self.output_trust, self.output_sensitivity, (self.name,))

    def decisive(self) -> tuple[str, ...]:
        """The arguments whose origin decides. By the schema: all but flags, choices, free text, dates and times."""
        if self.matters != ("*",):
            return self.matters
        properties = self.schema.get("properties")
        named = properties.items() if isinstance(properties, Mapping) else ()
        return tuple(name for name, schema in named if not _FREE.search(name) and _says_what(schema))

    def plausible(self, goal: str) -> bool:
        """Whether a goal has one of the words, or all of one of the phrases, each at least as the start of a word.

        A tool without words is told by its name and title. This only ever adds a hold (law 8).
        """
        return _plausible(self.words or (self.name.rpartition(".")[2], self.title), bool(self.words), goal)

    @property
    def told(self) -> tuple[str, ...]:
        """The arguments that `says` names."""
        return tuple(name for name, _ in _HOLE.findall(self.says))

    def said(self, arguments: Mapping[str, Json]) -> str:
        """`says` of this call; empty when it cannot be said of it. A value that is not one plain word is in quotes, so
        that it never reads like the rest of the sentence.
        """
        shown: dict[str, str] = {}
        for name in self.told:
            text = canonical_scalar(arguments.get(name))
            if text is None:
                return ""
            shown[name] = text if _PLAIN.fullmatch(text) else f"“{text}”"
        return _HOLE.sub(lambda hole: shown[hole.group(1)], self.says)

    def resource_of(self, arguments: Mapping[str, Json]) -> str:
        """Fill the resource template; raises `BadField` where a value could change the path's shape."""

        def fill(hole: re.Match[str]) -> str:
            name, several = hole.group(1), hole.group(2)
            value = arguments.get(name)
            if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
                raise BadField(f"arguments.{name}", "is needed to name the resource and must be text or a whole number")
            parts = str(value).split("/") if several else [str(value)]
            for part in parts:
                if part in ("", ".", "..", "*", "**") or "/" in part or not part.isprintable():
                    raise BadField(f"arguments.{name}", "may not change the shape of the resource's path")
            return "/".join(parts)

        return _HOLE.sub(fill, self.resource)


@lru_cache(maxsize=4096)
def _plausible(words: tuple[str, ...], phrases: bool, goal: str) -> bool:
    """`phrases`: each is wanted whole; otherwise they are a name and a title, and any word of them will do."""
    split = [_WORDS.findall(word.casefold().replace("_", " ")) for word in words]
    wanted = [phrase for phrase in split if phrase] if phrases else [[word] for one in split for word in one]
    wanted = [phrase for phrase in wanted if len("".join(phrase)) > 2]
    said = _WORDS.findall(goal.casefold())
    return not wanted or any(all(any(s.startswith(w) for s in said) for w in phrase) for phrase in wanted)


def _says_what(schema: Json) -> bool:
    """Not a flag, one of a few choices, or a moment."""
    if not isinstance(schema, Mapping):
        return True
    return not (
        schema.get("type") == "boolean" or "enum" in schema or schema.get("format") in ("date", "date-time", "time")
    )


def canonical_scalar(value: Json) -> str | None:
    """Return the one text a scalar is compared by, or None for what is not a scalar: `True` is never `1`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value
    return None


def as_decimal(value: Json) -> Decimal | None:
    """Return a finite decimal for a whole number or a plain decimal text; floats and the rest are None."""
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > 40:
        return None
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value, re.ASCII):
        return None
    try:
        return Decimal(value)
    except InvalidOperation:  # pragma: no cover - the pattern above admits only decimals
        return None
