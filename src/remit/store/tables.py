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
edges_seen = sa.Table(
    "edges_seen",
    metadata,
    sa.Column("edge", sa.Text, primary_key=True),
    sa.Column("seen_at", _BIG, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
shadows = sa.Table(
    "shadows",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("reporter", sa.Text, nullable=False),
    sa.Column("first_at", _BIG, nullable=False),
    sa.Column("last_at", _BIG, nullable=False),
    sa.Column("count", _BIG, nullable=False),
)
sa.Index("shadows_kind", shadows.c.kind, shadows.c.reporter)
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
turns = sa.Table(
    "turns",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("number", _BIG, nullable=False),
    sa.Column("until", _BIG, nullable=False),
)
marks = sa.Table(
    "marks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", _BIG, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
schema_floor = sa.Table(
    "schema_floor",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.Text, nullable=False),
)
log_words = sa.Table(
    "log_words",
    metadata,
    sa.Column("word", _BIG, primary_key=True, autoincrement=False),
    sa.Column("place", _BIG, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
log_indexed = sa.Table(
    "log_indexed",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", _BIG, nullable=False),
)
COUNTED = 1000  # how exactly it is found out which word is the rarest
LOOKED_AT = 20_000  # places of the rarest word, for one page of a search


class PlacesSql:
    """Statements over the log's words, as text for one driver. Each begins with a word's places below `before`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        below = sa.select(log_words.c.place).where(
            log_words.c.word == _big("word_"), log_words.c.place < _big("before_")
        )
        self._newest = below.order_by(log_words.c.place.desc()).limit(sa.bindparam("most_", type_=sa.Integer))
        some = below.limit(sa.bindparam("most_", type_=sa.Integer)).subquery()
        self.counted = text(sa.select(sa.func.count()).select_from(some), dialect)
        self.looked = text(self._newest.offset(sa.bindparam("skip_", type_=sa.Integer)), dialect)
        within = sa.select(sa.func.count()).where(
            log_words.c.word == _big("word_"), log_words.c.place >= _big("start_"), log_words.c.place < _big("end_")
        )
        self.within = text(within, dialect)
        self._of: dict[int, str] = {}

    def of(self, words: int) -> str:
        """Places of so many words together: parameters are the rarest word, `before`, how many of its places to look
        at, then the other words, then the limit.
        """
        if words not in self._of:
            rarest = self._newest.subquery()
            statement = sa.select(rarest.c.place)
            for n in range(words - 1):
                other = log_words.alias(f"w{n}")
                statement = statement.where(
                    sa.exists().where(other.c.word == _big(f"word{n}_"), other.c.place == rarest.c.place)
                )
            limit = sa.bindparam("limit_", type_=sa.Integer)
            self._of[words] = text(statement.order_by(rarest.c.place.desc()).limit(limit), self._dialect)
        return self._of[words]


def _big(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(name, type_=_BIG)


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
    table = ROWS[kind.table]
    statement = sa.select(table.c.key, table.c.body).where(
        *_equal(kind, where), table.c.key > sa.bindparam("after_", type_=sa.Text)
    )
    return text(statement.order_by(table.c.key).limit(sa.bindparam("limit_", type_=sa.Integer)), dialect)


def tally_sql(kind: Kind, where: tuple[str, ...], by: str, dialect: Dialect) -> str:
    """How many of such rows have which value: parameters are the values of `where`, then how many rows to look at."""
    conditions = _equal(kind, (*where, by))[:-1]
    table, most = ROWS[kind.table], sa.bindparam("limit_", type_=sa.Integer)
    some = sa.select(table.c[by].label("value")).where(*conditions).limit(most).subquery()
    return text(sa.select(some.c.value, sa.func.count()).group_by(some.c.value), dialect)


def _equal(kind: Kind, where: tuple[str, ...]) -> list[sa.ColumnElement[bool]]:
    unknown = set(where) - set(kind.columns)
    if unknown:
        raise ValueError(f"{kind.table} cannot be found by {', '.join(sorted(unknown))}")
    return [ROWS[kind.table].c[name] == sa.bindparam(f"{name}_") for name in where]


def text(statement: sa.sql.expression.ClauseElement, dialect: Dialect) -> str:
    """SQL text with the dialect's positional placeholders, in the order the parameters are written."""
    return str(statement.compile(dialect=dialect))
