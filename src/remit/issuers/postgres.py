"""PostgreSQL roles that exist for one task: least grants, `VALID UNTIL`, nothing left after the kill.

The admin role needs CREATEROLE, and the privileges it hands out WITH GRANT OPTION (or ownership of the tables);
it need not be a superuser. Its DSN comes from the environment or a file, never from the catalogue.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted

from .scram import verifier

PRIVILEGES = ("select", "insert", "update", "delete")
_HANDLE = re.compile(r"remit_[a-z0-9_]{1,57}\Z")
_TIMEOUT = 10.0
_TERMINATE_ROUNDS = 50
# Grants on one object by two transactions at once fail with "tuple concurrently updated": take turns, on the server,
# so that other replicas take turns too.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(5568450149)"


@dataclass(frozen=True)
class TableGrant:
    """One table, the privileges on it, and the columns they are limited to (none: all)."""

    name: str
    privileges: tuple[str, ...]
    columns: tuple[str, ...] = ()


class PostgresIssuer:
    """`grants`: `tables = [{ name = "public.invoices", privileges = ["select"], columns = […]? }, …]`."""

    def __init__(self, config: IssuerConfig, environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        limit = config.settings.get("connection_limit", 4)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 100:
            raise BadField("connection_limit", "must be 1 to 100")
        self._connection_limit = limit
        if not ("dsn_env" in config.settings) ^ ("dsn_file" in config.settings):
            raise BadField("dsn_env", "say either dsn_env (a variable's name) or dsn_file (a path)")

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        _tables(grants)

    async def mint(self, lease: Lease) -> Minted:
        """Create the role and its grants in one transaction; half a role never exists."""
        tables, role = _tables(lease.grants), _role(lease)
        password = secrets.token_urlsafe(24)
        # PBKDF2 costs milliseconds of CPU; it releases the GIL in a thread.
        scram = await asyncio.to_thread(verifier, password)
        async with _translated(), await self._acquire() as connection:
            database = await connection.fetchval("SELECT current_database()")
            statements = [
                _ONE_AT_A_TIME,
                f"CREATE ROLE {role} LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
                f" CONNECTION LIMIT {self._connection_limit} PASSWORD '{scram}'"
                f" VALID UNTIL '{_timestamp(lease.expires_at)}'",
                f"GRANT CONNECT ON DATABASE {_quoted(database)} TO {role}",
                *(
                    f"GRANT USAGE ON SCHEMA {_quoted(s)} TO {role}"
                    for s in sorted({t.name.split(".")[0] for t in tables})
                ),
                *(_grant(table, role) for table in tables),
            ]
            # One simple-protocol message is one transaction.
            await connection.execute(";".join(statements), timeout=_TIMEOUT)
            host, port = self._address(connection)
        parts = {"host": host, "port": port, "dbname": database, "user": role, "password": password}
        return Minted(parts)

    async def kill(self, lease: Lease) -> None:
        """No new session first, then the live ones, then the objects, then the role itself."""
        role = _role(lease)
        async with _translated(), await self._acquire() as connection:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                return
            # Whoever is no superuser must be a member to end the role's sessions and to hand over its objects.
            await connection.execute(
                f"{_ONE_AT_A_TIME}; ALTER ROLE {role} NOLOGIN; GRANT {role} TO CURRENT_USER", timeout=_TIMEOUT
            )
            await _end_sessions(connection, role)
            await connection.execute(
                f"{_ONE_AT_A_TIME}; REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}",
                timeout=_TIMEOUT,
            )

    async def close(self) -> None:
        """Close the admin connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _acquire(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._dsn(),
                    min_size=0,
                    max_size=8,
                    timeout=5,
                    command_timeout=_TIMEOUT,
                    statement_cache_size=0,
                    server_settings={
                        "application_name": "remit",
                        "statement_timeout": "10000",
                        "lock_timeout": "5000",
                    },
                )
        return self._pool.acquire(timeout=_TIMEOUT)

    def _dsn(self) -> str:
        settings = self._config.settings
        if "dsn_env" in settings:
            name = str(settings["dsn_env"])
            dsn = self._environ.get(name, "")
            where = f"Set {name} in the server's environment."
        else:
            path = Path(str(settings["dsn_file"]))
            dsn = path.read_text().strip() if path.is_file() else ""
            where = f"Put it into {path}."
        if not dsn:
            raise IssuerUnavailable(f"Issuer {self._config.name} has no address.", next_step=where)
        return dsn

    def _address(self, connection: Any) -> tuple[str, str]:
        """Where the agent connects: what the admin's own DSN says, socket directory or host."""
        parts = urlsplit(self._dsn())
        query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
        host = unquote(query.get("host", "")) or unquote(parts.hostname or "") or "localhost"
        return host, query.get("port") or str(parts.port or 5432)


class _translated:  # noqa: N801 - reads as a phrase: `async with _translated()`
    """Turn the driver's failures into ours; an upstream's message stays inside, it may quote data."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | OSError | TimeoutError):
            raise IssuerUnavailable(
                "The database did not confirm.",
                next_step="It is tried again; `remit doctor` checks the issuer.",
                inside=f"{type(error).__name__}: {error}",
            ) from error


async def _end_sessions(connection: Any, role: str) -> None:
    for round_ in range(_TERMINATE_ROUNDS):
        left = await connection.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
        if not left:
            return
        await asyncio.sleep(0.002 * min(round_ + 1, 25))
    raise IssuerUnavailable("A session of the role does not end.", inside=role)


def _tables(grants: Mapping[str, Json]) -> tuple[TableGrant, ...]:
    tables = grants.get("tables")
    if not isinstance(tables, list | tuple) or not 0 < len(tables) <= 200 or set(grants) != {"tables"}:
        raise BadField("grants.tables", "must be the only key: a list of 1 to 200 tables")
    return tuple(_table(table, index) for index, table in enumerate(tables))


def _table(table: Json, index: int) -> TableGrant:
    at = f"grants.tables[{index}]"
    if not isinstance(table, Mapping) or table.keys() - {"name", "privileges", "columns"}:
        raise BadField(at, "takes name, privileges, columns")
    name, privileges, columns = table.get("name"), table.get("privileges"), table.get("columns", [])
    if not isinstance(name, str) or not re.fullmatch(r"[^.\x00]{1,63}\.[^.\x00]{1,63}", name):
        raise BadField(f"{at}.name", "must be schema.table")
    known = isinstance(privileges, list | tuple) and privileges and all(p in PRIVILEGES for p in privileges)
    if not known:
        raise BadField(f"{at}.privileges", f"must be some of {', '.join(PRIVILEGES)}")
    if not isinstance(columns, list | tuple) or not all(isinstance(c, str) and 0 < len(c) < 64 for c in columns):
        raise BadField(f"{at}.columns", "must be a list of column names")
    if columns and "delete" in _texts(privileges):
        raise BadField(f"{at}.columns", "delete cannot be limited to columns")
    return TableGrant(name, _texts(privileges), _texts(columns))


def _texts(values: Json) -> tuple[str, ...]:
    return tuple(str(v) for v in values) if isinstance(values, Sequence) else ()


def _grant(table: TableGrant, role: str) -> str:
    columns = f" ({', '.join(map(_quoted, table.columns))})" if table.columns else ""
    privileges = ", ".join(p.upper() + columns for p in table.privileges)
    schema, _, name = table.name.partition(".")
    return f"GRANT {privileges} ON TABLE {_quoted(schema)}.{_quoted(name)} TO {role}"


def _role(lease: Lease) -> str:
    if not _HANDLE.match(lease.handle):
        raise WrongState(f"{lease.handle!r} is not a role this issuer makes")
    return lease.handle


def _quoted(identifier: str) -> str:
    if "\x00" in identifier:
        raise BadField("grants", "an identifier has a NUL")
    return '"' + identifier.replace('"', '""') + '"'


def _timestamp(instant: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(instant / 1000, UTC).isoformat()
