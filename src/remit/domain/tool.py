"""What a call does to the world: the catalogue's reviewed description of one tool."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import IntEnum

from .errors import BadField
from .flow import Json, Label, Sensitivity, Trust

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
    `pin` is the digest of the MCP description that was reviewed; empty when the tool is not an MCP tool.
    `reviewed` is that description, as JSON, for whoever reviews the next one; it may be empty.
    `output_trust` says who can write what it returns; `egress` that it carries data out.
    `revision` is a digest of the whole entry.
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
    matters: tuple[str, ...] = ()
    pin: str = ""
    revision: str = ""
    reviewed: str = ""

    def label(self) -> Label:
        """Return what having read this tool's output means."""
        return Label(self.output_trust, self.output_sensitivity, (self.name,))

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
