"""The tables, derived from `formats.record.KINDS`: one for each kind of row, then events and the log.

SQLAlchemy Core describes and compiles; statements are turned into text once, never per call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from remit.formats.record import KINDS, Kind

metadata = sa.MetaData()
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _row_table(kind: Kind) -> sa.Table:
    table = sa.Table(
        kind.table,
        metadata,
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", _BIG, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", _BIG, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in kind.columns),
    )
    due = table.c.due
    sa.Index(f"{kind.table}_due", due, sqlite_where=due > 0, postgresql_where=due > 0)
    for name in kind.columns:
        sa.Index(f"{kind.table}_{name}", table.c[name], table.c.key)
    return table


ROWS: dict[str, sa.Table] = {kind.table: _row_table(kind) for kind in KINDS}

events = sa.Table(
    "events",
    metadata,
    sa.Column("number", _BIG, primary_key=True, autoincrement=True),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
    sa.Column("bodies", sa.LargeBinary, nullable=False),
    sa.Column("log_index", _BIG, nullable=True, unique=True),
    sqlite_autoincrement=True,
)
_waiting = events.c.log_index.is_(None)
sa.Index("events_unsequenced", events.c.number, sqlite_where=_waiting, postgresql_where=_waiting)

spent = sa.Table(
    "spent",
    metadata,
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("until", _BIG, nullable=False, index=True),
)
tiles = sa.Table(
    "tiles",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", _BIG, primary_key=True, autoincrement=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)
log_head = sa.Table(
    "log_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", _BIG, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)


@dataclass(frozen=True)
class RowSql:
    """Statements for one kind of row, as text for one driver. Parameters are positional, in column order."""

    get: str
    version: str
    insert: str
    update: str
    due: str


def row_sql(kind: Kind, dialect: Dialect) -> RowSql:
    """Compile the statements for one kind; `update` takes the new values, then key and expected version."""
    table = ROWS[kind.table]
    names = [column.name for column in table.columns]
    key = sa.bindparam("key_", type_=sa.Text)
    limit = sa.bindparam("limit_", type_=sa.Integer)
    now = sa.bindparam("now_", type_=_BIG)
    due = sa.select(table.c.key, table.c.body).where(table.c.due > sa.literal_column("0"), table.c.due <= now)
    values: dict[str, Any] = {name: sa.bindparam(name) for name in names}
    changed: dict[str, Any] = {name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in names[1:]}
    update = sa.update(table).values(changed).where(table.c.key == key, table.c.version == sa.bindparam("expected_"))
    return RowSql(
        text(sa.select(table.c.version, table.c.body).where(table.c.key == key), dialect),
        text(sa.select(table.c.version).where(table.c.key == key), dialect),
        text(sa.insert(table).values(values), dialect),
        text(update, dialect),
        text(due.order_by(table.c.due, table.c.key).limit(limit), dialect),
    )


def find_sql(kind: Kind, where: tuple[str, ...], dialect: Dialect) -> str:
    """Rows by indexed columns: parameters are the values of `where`, then `after`, then the limit."""
    unknown = set(where) - set(kind.columns)
    if unknown:
        raise ValueError(f"{kind.table} cannot be found by {', '.join(sorted(unknown))}")
    table = ROWS[kind.table]
    conditions = [table.c[name] == sa.bindparam(f"{name}_") for name in where]
    statement = sa.select(table.c.key, table.c.body).where(
        *conditions, table.c.key > sa.bindparam("after_", type_=sa.Text)
    )
    return text(statement.order_by(table.c.key).limit(sa.bindparam("limit_", type_=sa.Integer)), dialect)


def text(statement: sa.sql.expression.ClauseElement, dialect: Dialect) -> str:
    """SQL text with the dialect's positional placeholders, in the order the parameters are written."""
    return str(statement.compile(dialect=dialect))
