"""Rows decoded before: used again only while the stored body is byte for byte the one they came from."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from remit.domain.change import R
from remit.formats.row_body import decode

_SIZE = 16_384


class RowCache:
    """Holds immutable values only, and asks the store for the body every time: it cannot answer from the past."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[bytes, Any]] = OrderedDict()

    def decoded(self, kind: type[R], table: str, key: str, body: bytes) -> R:
        """The row of this body."""
        known = self._known.get((table, key))
        if known is not None and known[0] == body:
            row: R = known[1]
            return row
        row = decode(kind, body)
        self.remember(table, key, body, row)
        return row

    def remember(self, table: str, key: str, body: bytes, row: Any) -> None:
        """This body is this row."""
        self._known[(table, key)] = (body, row)
        if len(self._known) > _SIZE:
            self._known.popitem(last=False)
