"""What a task's role may touch, as a purpose states it, and the SQL that grants exactly that.

Text in, text out. Names are quoted, values are literals, and both are bounded: PostgreSQL cuts a name at 63 bytes
without an error, and would then grant on another table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from remit.domain.errors import BadField
from remit.domain.flow import Json

PRIVILEGES = ("select", "insert", "update", "delete")
_KEYS = ("tables", "rows", "sequences")
_TABLE_KEYS = ("name", "privileges", "columns")


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """A table, view or sequence in its schema."""

    schema: str
    name: str

    @property
    def sql(self) -> str:
        """The quoted name."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True, slots=True, order=True)
class TableGrant:
    """Privileges on one table; no `columns` is all of them. `rows` are the (column, value) that a row must have."""

    table: Relation
    privileges: tuple[str, ...]
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Grants:
    """All of one credential. In the order of names, so that two transactions do not wait for each other."""

    tables: tuple[TableGrant, ...]
    sequences: tuple[Relation, ...] = ()

    def statements(self, role: str, database: str) -> list[str]:
        """SQL that gives `role` these and nothing else, for one transaction.

        A table with `rows` is not granted. The role gets a security-barrier view of it, under the table's own name
        in a schema named as the role, which the default `search_path` ("$user", public) finds first.
        """
        to = f"TO {quoted(role)}"
        whole = [grant for grant in self.tables if not grant.rows]
        filtered = [(Relation(role, grant.table.name), grant) for grant in self.tables if grant.rows]
        schemas = {grant.table.schema for grant in whole} | {sequence.schema for sequence in self.sequences}
        if filtered:
            schemas.add(role)
        return [
            *([f"CREATE SCHEMA {quoted(role)}"] if filtered else []),
            *(_view(view, grant) for view, grant in filtered),
            f"GRANT CONNECT ON DATABASE {quoted(database)} {to}",
            *(f"GRANT USAGE ON SCHEMA {quoted(schema)} {to}" for schema in sorted(schemas)),
            *(f"GRANT {_privileges(grant)} ON TABLE {grant.table.sql} {to}" for grant in whole),
            *(f"GRANT {_privileges(grant)} ON TABLE {view.sql} {to}" for view, grant in filtered),
            *(f"GRANT USAGE ON SEQUENCE {sequence.sql} {to}" for sequence in self.sequences),
        ]


def parse(grants: Mapping[str, Json]) -> Grants:
    """Read `{tables = [{name, privileges, columns?}], rows? = {"schema.table" = {column = value}}, sequences? = […]}`.

    Names are `schema.name`; system schemas are refused. Every flaw is a `BadField`.
    """
    for key in grants.keys() - set(_KEYS):
        raise BadField(f"grants.{key}", f"is not known here; known: {', '.join(_KEYS)}")
    rows = grants.get("rows", {})
    if not isinstance(rows, Mapping):
        raise BadField("grants.rows", "must map a table's name to the columns and values its rows must have")
    tables = _listed(grants.get("tables"), "grants.tables", 1, 200)
    parsed = [_table(table, rows, f"grants.tables[{i}]") for i, table in enumerate(tables)]
    names = [f"{grant.table.schema}.{grant.table.name}" for grant in parsed]
    for name in rows.keys() - set(names):
        raise BadField(f"grants.rows.{name}", "is not one of the tables")
    # A second entry for a table would undo the first one's limits.
    views = [grant.table.name for grant in parsed if grant.rows]
    if len(set(names)) < len(names) or len(set(views)) < len(views):
        raise BadField("grants.tables", "names a table twice")
    sequences = _listed(grants.get("sequences", ()), "grants.sequences", 0, 200)
    found = sorted(_relation(name, f"grants.sequences[{i}]") for i, name in enumerate(sequences))
    return Grants(tuple(sorted(parsed)), tuple(found))


def _table(table: Json, rows: Mapping[str, Json], at: str) -> TableGrant:
    if not isinstance(table, Mapping) or table.keys() - set(_TABLE_KEYS):
        raise BadField(at, f"takes {', '.join(_TABLE_KEYS)}")
    relation = _relation(table.get("name"), f"{at}.name")
    wanted = _listed(table.get("privileges"), f"{at}.privileges", 1, 4)
    privileges = tuple(privilege for privilege in PRIVILEGES if privilege in wanted)
    if len(privileges) < len(wanted):
        raise BadField(f"{at}.privileges", f"must be some of {', '.join(PRIVILEGES)}, each once")
    columns = _listed(table.get("columns", ()), f"{at}.columns", 0, 1600)
    if columns and "delete" in privileges:
        raise BadField(f"{at}.columns", "delete cannot be limited to columns")
    named = tuple(_identifier(column, f"{at}.columns") for column in columns)
    name = f"{relation.schema}.{relation.name}"
    return TableGrant(relation, privileges, named, _rows(rows[name], name) if name in rows else ())


def _rows(wanted: Json, name: str) -> tuple[tuple[str, str], ...]:
    at = f"grants.rows.{name}"
    if not isinstance(wanted, Mapping) or not 0 < len(wanted) <= 16:
        raise BadField(at, "must give 1 to 16 columns and the value each must have")
    for column, value in wanted.items():
        if isinstance(value, bool) or not isinstance(value, str | int) or not _fits(str(value), 4096):
            raise BadField(f"{at}.{column}", "must be text or a whole number")
    return tuple(sorted((_identifier(column, at), str(value)) for column, value in wanted.items()))


def _listed(values: Json, at: str, least: int, most: int) -> Sequence[Json]:
    if not isinstance(values, list | tuple) or not least <= len(values) <= most:
        raise BadField(at, f"must be a list of {least} to {most}")
    return values


def _relation(name: Json, at: str) -> Relation:
    parts = name.split(".") if isinstance(name, str) else []
    if len(parts) != 2:
        raise BadField(at, "must be schema.name")
    if parts[0].startswith("pg_") or parts[0] == "information_schema":
        raise BadField(at, "is in a system schema")
    return Relation(_identifier(parts[0], at), _identifier(parts[1], at))


def _identifier(name: Json, at: str) -> str:
    if not isinstance(name, str) or not name or not _fits(name, 63):
        raise BadField(at, "must be a name of 1 to 63 bytes")
    return name


def _fits(text: str, most: int) -> bool:
    try:
        return "\x00" not in text and len(text.encode()) <= most
    except UnicodeEncodeError:
        return False


def _view(view: Relation, grant: TableGrant) -> str:
    """`security_barrier`: no function the task brings sees a row before the filter. The check keeps writes inside."""
    wanted = " AND ".join(f"{quoted(column)} = {literal(value)}" for column, value in grant.rows)
    check = " WITH CASCADED CHECK OPTION" if {"insert", "update"} & set(grant.privileges) else ""
    select = f"SELECT * FROM {grant.table.sql} WHERE {wanted}"  # noqa: S608 - quoted here
    return f"CREATE VIEW {view.sql} WITH (security_barrier = true) AS {select}{check}"


def _privileges(grant: TableGrant) -> str:
    columns = f" ({', '.join(map(quoted, grant.columns))})" if grant.columns else ""
    return ", ".join(privilege.upper() + columns for privilege in grant.privileges)


def quoted(identifier: str) -> str:
    """An SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string; the session must have `standard_conforming_strings` on."""
    return "'" + text.replace("'", "''") + "'"


def timestamp(instant: int) -> str:
    """A literal of the instant (ms)."""
    return literal(datetime.fromtimestamp(instant / 1000, UTC).isoformat())
