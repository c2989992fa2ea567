"""A tool's arguments against its reviewed JSON Schema (draft 2020-12). Nothing is ever fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from remit.domain.errors import BadField
from remit.domain.flow import Json

_SCHEMA_LIMIT = 65_536


class ArgumentSchema:
    """Compiled once per reviewed tool. The empty schema means no arguments at all."""

    def __init__(self, validator: Any) -> None:
        self._validator = validator

    @classmethod
    def compile(cls, schema: Mapping[str, Json]) -> ArgumentSchema:
        """Compile; a schema that is invalid, huge, or refers outside itself raises `BadField`."""
        closed: dict[str, Any] = {"type": "object", "additionalProperties": False, **dict(schema)}
        if closed["type"] != "object":
            raise BadField("schema", "must describe an object")
        if len(str(closed)) > _SCHEMA_LIMIT:
            raise BadField("schema", f"is over {_SCHEMA_LIMIT} characters")
        _refuse_outside_references(closed, 0)
        try:
            return cls(jsonschema_rs.Draft202012Validator(closed, validate_formats=False, retriever=_refuse))
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as bad:
            raise BadField("schema", f"is not a valid JSON Schema: {str(bad).splitlines()[0][:200]}") from bad

    def problems(self, arguments: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
        """(path, what is wrong) for at most five problems; empty when the arguments fit."""
        value = dict(arguments)
        if self._validator.is_valid(value):
            return ()
        found: list[tuple[str, str]] = []
        for error in self._validator.iter_errors(value):
            path = ".".join(["arguments", *map(str, error.instance_path)])
            found.append((path[:200], error.message[:200]))
            if len(found) == 5:
                break
        return tuple(found)


def _refuse_outside_references(value: Any, depth: int) -> None:
    if depth > 32:
        raise BadField("schema", "is nested too deep")
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key in ("$ref", "$dynamicRef", "$schema", "$id") and isinstance(part, str):
                if key in ("$ref", "$dynamicRef") and not part.startswith("#"):
                    raise BadField("schema", f"refers outside itself: {part[:100]}")
            else:
                _refuse_outside_references(part, depth + 1)
    elif isinstance(value, list | tuple):
        for part in value:
            _refuse_outside_references(part, depth + 1)


def _refuse(uri: str) -> Any:
    raise ValueError(f"will not fetch {uri}")
