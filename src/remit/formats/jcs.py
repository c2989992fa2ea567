"""Canonical JSON (RFC 8785) and digests of it: one text for one value, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import rfc8785

from remit.domain.errors import BadField


def canonical(value: Any) -> bytes:
    """The RFC 8785 text; what JSON cannot carry exactly raises `BadField`."""
    try:
        return rfc8785.dumps(_plain(value))
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeEncodeError) as bad:
        raise BadField("value", "cannot be written as canonical JSON", inside=str(bad)) from bad


def digest(value: Any) -> str:
    """`sha256:<hex>` of the canonical text."""
    return digest_of(canonical(value))


def digest_of(text: bytes) -> str:
    """`sha256:<hex>` of a text that is canonical already."""
    return "sha256:" + sha256(text).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
