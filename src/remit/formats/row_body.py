"""A row's body: JSON with its fields by name, for versions of Remit that run side by side.

A field that has its default is left out. So a version that adds a field writes rows that the version before can read
and write back, as long as nobody uses the field; its default must mean what rows without it meant, and a default never
changes. A row that does use it is refused by the version before, whole: to drop the field on the way back would lose
what was decided, and to act as if it were not there could permit what it forbids.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from base64 import b64decode
from collections.abc import Callable
from dataclasses import MISSING
from decimal import Decimal
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from remit.domain.change import R, Row
from remit.domain.errors import UnknownRow

_encode = msgspec.json.Encoder().encode


def encode(row: Row) -> bytes:
    """The body of a row."""
    parts = _encoder(type(row))
    return _encode(parts(row) if parts else row)


def decode(kind: type[R], body: bytes) -> R:
    """Rebuild a row from its body. Missing fields take their defaults; what this version does not know is refused."""
    try:
        row: R = _decoder(kind)(msgspec.json.decode(body))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as unknown:
        raise UnknownRow(
            "This was written by a newer version of Remit, and this one does not know all of it.",
            next_step="Ask a server of the newer version; this one changes nothing.",
            inside=f"{kind.__name__}: {type(unknown).__name__} {unknown}",
        ) from unknown
    return row


def row(kind: type[R], value: Any) -> R:
    """Rebuild a row from its body as it stands within other JSON; a flaw is whatever its parts raise."""
    return decode(kind, msgspec.json.encode(value))


_Parts: typing.TypeAlias = Callable[[Any], Any]
_ENCODERS: dict[Any, _Parts | None] = {}
_NOTHING = object()


def _encoder(hint: Any) -> _Parts | None:
    """What to do to a value of this type before it is written; None: nothing."""
    if hint not in _ENCODERS:
        _ENCODERS[hint] = _build_encoder(hint)
    return _ENCODERS[hint]


def _build_encoder(hint: Any) -> _Parts | None:
    args = get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass_encoder(hint)
    if get_origin(hint) is tuple and len(args) == 2 and args[1] is Ellipsis:
        each = _encoder(args[0])
        return (lambda value: [each(one) for one in value]) if each else None
    return None  # members of a union are told apart by their fields, so they keep them all


def _dataclass_encoder(cls: type[Any]) -> _Parts | None:
    hints = get_type_hints(cls)
    fields = [(field.name, _default(field), _encoder(hints[field.name])) for field in dataclasses.fields(cls)]
    if all(default is _NOTHING and inner is None for _, default, inner in fields):
        return None

    def parts(value: Any) -> dict[str, Any]:
        found = {}
        for name, default, inner in fields:
            part = getattr(value, name)
            if default is _NOTHING or part != default:
                found[name] = inner(part) if inner else part
        return found

    return parts


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else _NOTHING


_DECODERS: dict[Any, Callable[[Any], Any]] = {}


def _decoder(hint: Any) -> Callable[[Any], Any]:
    found = _DECODERS.get(hint)
    if found is None:
        found = _DECODERS[hint] = _build_decoder(hint)
    return found


def _build_decoder(hint: Any) -> Callable[[Any], Any]:
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass_decoder(hint)
    if isinstance(hint, type) and issubclass(hint, Enum | Decimal):
        return hint
    if hint is bytes:
        return b64decode
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            each = _decoder(args[0])
            return lambda value: tuple(map(each, value))
        parts = [_decoder(arg) for arg in args]
        return lambda value: tuple(part(v) for part, v in zip(parts, value, strict=True))
    if origin is frozenset:
        member = _decoder(args[0])
        return lambda value: frozenset(map(member, value))
    if origin in (typing.Union, types.UnionType) and all(map(dataclasses.is_dataclass, args)):
        by_fields = {frozenset(f.name for f in dataclasses.fields(arg)): _decoder(arg) for arg in args}
        return lambda value: by_fields[frozenset(value)](value)
    return lambda value: value


def _dataclass_decoder(cls: type[Any]) -> Callable[[Any], Any]:
    hints = get_type_hints(cls)
    fields = {field.name: _decoder(hints[field.name]) for field in dataclasses.fields(cls)}
    return lambda value: cls(**{name: fields[name](part) for name, part in value.items()})
