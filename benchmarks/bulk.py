"""Rows put straight into SQLite's tables, where a benchmark needs more of them than commits would make in time."""

from __future__ import annotations

import sqlite3
from typing import Any

from remit.formats import row_body
from remit.formats.record import KIND_OF


def put(db: sqlite3.Connection, rows: list[Any]) -> None:
    """Rows of one kind, as the store would have written them."""
    kind = KIND_OF[type(rows[0])]
    names = ("key", "version", "body", "due", *kind.columns)
    values = [
        (row.key, row.version, row_body.encode(row), kind.due(row), *(column(row) for column in kind.columns.values()))
        for row in rows
    ]
    db.executemany(f"INSERT INTO {kind.table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", values)
