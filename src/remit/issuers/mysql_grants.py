"""What a task's account may touch, as a purpose states it, and the GRANTs that give exactly that (MariaDB, MySQL)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from remit.domain.errors import BadField
from remit.domain.flow import Json

PRIVILEGES = ("select", "insert", "update", "delete")
_SYSTEM = ("mysql", "information_schema", "performance_schema", "sys")
_ON_COLUMNS = ("select", "insert", "update")


@dataclass(frozen=True, slots=True)
class TableGrant:
    """Privileges on one table; no `columns` is all of them. Table grants know no wildcards, database grants would."""

    database: str
    table: str
    privileges: tuple[str, ...]
    columns: tuple[str, ...] = ()

    def sql(self, to: str) -> str:
        """One GRANT."""
        of = f" ({', '.join(map(quoted, self.columns))})" if self.columns else ""
        what = ", ".join(privilege.upper() + of for privilege in self.privileges)
        return f"GRANT {what} ON TABLE {quoted(self.database)}.{quoted(self.table)} TO {to}"


def parse(grants: Mapping[str, Json]) -> tuple[TableGrant, ...]:
    """`{tables = [{name = "database.table", privileges = [...], columns = [...]}]}`; anything else is a `BadField`."""
    tables = grants.get("tables")
    if not isinstance(tables, list | tuple) or not 0 < len(tables) <= 100:
        raise BadField("grants.tables", "must be 1 to 100 tables")
    for key in grants.keys() - {"tables"}:
        raise BadField(f"grants.{key}", "is not known here; known: tables")
    return tuple(_table(table, f"grants.tables[{i}]") for i, table in enumerate(tables))


def _table(table: Json, at: str) -> TableGrant:
    if not isinstance(table, Mapping):
        raise BadField(at, "must be a table such as {name = 'shop.orders', privileges = ['select']}")
    for key in table.keys() - {"name", "privileges", "columns"}:
        raise BadField(f"{at}.{key}", "is not known here; known: name, privileges, columns")
    database, dot, name = str(table.get("name", "")).partition(".")
    privileges, columns = table.get("privileges"), table.get("columns", ())
    if not dot or not _is_name(database) or not _is_name(name):
        raise BadField(f"{at}.name", "must be database.table, each of at most 64 characters")
    if database.casefold() in _SYSTEM:
        raise BadField(f"{at}.name", "is in a system database")
    if not isinstance(privileges, list | tuple) or not privileges or any(p not in PRIVILEGES for p in privileges):
        raise BadField(f"{at}.privileges", f"must be some of {', '.join(PRIVILEGES)}")
    if not isinstance(columns, list | tuple) or len(columns) > 4096 or not all(_is_name(column) for column in columns):
        raise BadField(f"{at}.columns", "must be names of columns")
    if columns and any(p not in _ON_COLUMNS for p in privileges):
        raise BadField(f"{at}.columns", f"only {', '.join(_ON_COLUMNS)} can be limited to columns")
    texts = tuple(str(privilege) for privilege in dict.fromkeys(privileges))
    return TableGrant(database, name, texts, tuple(str(column) for column in columns))


def _is_name(text: Json) -> bool:
    """An identifier: at most 64 characters of the basic plane, without NUL, not ending in a space."""
    if not isinstance(text, str) or not 0 < len(text) <= 64 or text != text.rstrip():
        return False
    return all(0 < ord(letter) < 0xD800 or 0xDFFF < ord(letter) <= 0xFFFF for letter in text)


def quoted(name: str) -> str:
    """An identifier, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text literal under NO_BACKSLASH_ESCAPES, which our sessions set."""
    return "'" + text.replace("'", "''") + "'"
