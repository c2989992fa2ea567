"""PostgreSQL roles that exist for one task: least grants, `VALID UNTIL`, nothing left after the kill.

The admin role needs CREATEROLE and INHERIT, and what it hands out WITH GRANT OPTION (or as owner): CONNECT on the
database, USAGE on schemas, privileges on tables and sequences; for `rows` also CREATE on the database. It need not,
and should not, be a superuser. Its DSN comes from the environment or a file, never from the catalogue.

A role can also do what PUBLIC can: take from PUBLIC what tasks shall not have. What a task made and still owns is
dropped with its role, or goes to the role that `owner` names. It never goes to the admin: a function or a view that
a task left behind would then act with the admin's authority. `owner` should hold no privileges, for the same reason.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted

from . import Tools
from .postgres_address import Address
from .postgres_grants import literal, parse, quoted, timestamp
from .scram import verifier

_HANDLE = re.compile(r"remit_[a-z0-9_]{1,57}\Z")
_HOLE = re.compile(r"\{[a-z_][a-z0-9_]*\}\Z")
_TIMEOUT = 10.0
_ROUNDS = 50
_PATIENCE = 4  # rounds, 30 ms
_TURNS = 8
# A mint must be over this long (ms) before its window closes, or its role might appear when nobody looks any more.
# It is also how far the two clocks may be apart.
_MARGIN = 5_000
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = $1"
_OURS = """SELECT rolname FROM pg_roles WHERE rolname ~ '^remit_[0-9a-f]{32}$' AND
 (pg_has_role(oid, 'MEMBER WITH ADMIN OPTION') OR current_setting('server_version_num')::int < 160000)"""
_HIDDEN = """SELECT pid FROM pg_locks WHERE locktype = 'virtualxid' AND pid NOT IN
 (SELECT pid FROM pg_stat_activity WHERE usesysid IS NOT NULL OR backend_type <> 'client backend')"""
# What runs as the admin finds only PostgreSQL's own functions and operators, not a task's.
_SESSION = {
    "application_name": "remit",
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "statement_timeout": "10000",
    "lock_timeout": "1000",
}


class PostgresIssuer:
    """For `grants` see `postgres_grants.parse`. Mints `host`, `port`, `dbname`, `user`, `password` (libpq keywords)."""

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._address = Address(config, tools.environ)
        self._connection_limit = _whole(config, "connection_limit", 2, 100)
        self._statement_timeout = _whole(config, "statement_timeout", 0, 86_400_000)
        owner = config.settings.get("owner", "")
        if not isinstance(owner, str) or ("owner" in config.settings and not 0 < len(owner.encode()) < 64):
            raise BadField("owner", "must be a role's name")
        self._owner = owner
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._turn = asyncio.Lock()

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        parse(grants)

    async def mint(self, lease: Lease) -> Minted:
        """Create the role and its grants in one transaction: half a role never exists, nor one made too late."""
        grants, role = parse(lease.grants), _role(lease)
        for grant in grants.tables:
            if any(_HOLE.match(value) for _, value in grant.rows):
                raise WrongState(f"The rows of {grant.table.name} need a parameter that was not stated.")
        parts = self._address.parts()
        password = secrets.token_urlsafe(24)
        # PBKDF2 costs milliseconds of CPU; it releases the GIL in a thread.
        scram = await asyncio.to_thread(verifier, password)
        made = (
            f"CREATE ROLE {role} LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
            f" CONNECTION LIMIT {self._connection_limit} PASSWORD {literal(scram)}"
            f" VALID UNTIL {timestamp(lease.expires_at)}"
        )
        limited = [f"ALTER ROLE {role} SET statement_timeout = {self._statement_timeout}"]
        last = min(lease.mint_until - _MARGIN, lease.expires_at)
        in_time = f"SELECT 1 / (clock_timestamp() < {timestamp(last)})::int"
        statements = [*(limited if self._statement_timeout else []), *grants.statements(role, parts["dbname"]), in_time]
        async with self._admin() as connection:
            try:
                await self._commit(connection, made, *statements)
            except asyncpg.DivisionByZeroError:
                raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.") from None
        return Minted({**parts, "user": role, "password": password})

    async def kill(self, lease: Lease) -> None:
        """No new session first, then the live ones, then the objects, then the role itself."""
        role = _role(lease)
        async with self._admin() as connection:
            try:
                await self._end(connection, role)
            except (asyncpg.UndefinedObjectError, asyncpg.InsufficientPrivilegeError):
                # Of a role that another replica drops meanwhile we are no member any more, or it is not there.
                if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                    raise

    async def listed(self) -> Sequence[str]:
        """Roles that we named and this admin may drop: one of another admin is another estate's (PostgreSQL 16)."""
        async with self._admin() as connection:
            return [row["rolname"] for row in await connection.fetch(_OURS)]

    def name(self, lease: Lease) -> str:
        """See `ports.Lists`."""
        return lease.handle

    async def close(self) -> None:
        """Close the admin connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _end(self, connection: Any, role: str) -> None:
        # Nothing here waits for anything a task can hold: until its sessions are gone, we take no lock but its role's.
        # Whoever is no superuser must be a member to end the role's sessions and to drop its objects.
        await _retried(connection, f"ALTER ROLE {role} NOLOGIN; GRANT {role} TO CURRENT_USER")
        number = await connection.fetchval("SELECT oid FROM pg_roles WHERE rolname = $1", role)
        await _end_sessions(connection, number)
        dropped = (*self._surrender(role), f"DROP SCHEMA IF EXISTS {role} CASCADE", f"DROP ROLE {role}")
        try:
            await self._commit(connection, *dropped)
        except asyncpg.DependentObjectsStillExistError:
            await self._surrender_elsewhere(connection, role, number)
            await self._commit(connection, *dropped)

    def _surrender(self, role: str) -> tuple[str, ...]:
        heir = (f"REASSIGN OWNED BY {role} TO {quoted(self._owner)}",) if self._owner else ()
        return (*heir, f"DROP OWNED BY {role} CASCADE")

    async def _surrender_elsewhere(self, connection: Any, role: str, number: int) -> None:
        """What PUBLIC may make in other databases of the server, a task may have made there."""
        found = await connection.fetch(
            "SELECT DISTINCT datname FROM pg_shdepend JOIN pg_database d ON d.oid = dbid"
            " WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1 AND datname <> current_database()",
            number,
        )
        for row in found:
            there = await asyncpg.connect(
                **self._address.arguments(row["datname"]), timeout=5, command_timeout=_TIMEOUT, server_settings=_SESSION
            )
            try:
                await _retried(there, ";".join(self._surrender(role)))
            finally:
                await there.close()

    async def _commit(self, connection: Any, *statements: str) -> None:
        """One transaction, in one message. Transactions that grant on one object take turns here."""
        async with self._turn:
            await _retried(connection, ";".join(statements))

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        """An admin connection; the driver's failures become ours, and an upstream's words stay inside."""
        try:
            pool = await self._opened()
            async with pool.acquire(timeout=_TIMEOUT) as connection:
                yield connection
        except asyncpg.PostgresError as error:
            raise IssuerUnavailable(
                "The database refused.",
                next_step="`remit doctor` checks the issuer; see what its admin role may grant.",
                inside=f"{error.sqlstate} {error}",
            ) from error
        except (asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise IssuerUnavailable(
                "The database did not confirm.",
                next_step="It is tried again; `remit doctor` checks the issuer.",
                inside=type(error).__name__,
            ) from error

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                # Connections stay open once made, so that a server full of other sessions can still be told to kill.
                self._pool = await asyncpg.create_pool(
                    **self._address.arguments(),
                    min_size=1,
                    max_size=8,
                    timeout=5,
                    command_timeout=_TIMEOUT,
                    max_inactive_connection_lifetime=0,
                    reset=_tidied,
                    server_settings=_SESSION,
                )
        return self._pool


async def _tidied(connection: Any) -> None:
    """Our statements leave nothing behind in a session, so there is nothing to reset: a round trip saved."""


async def _retried(connection: Any, statements: str) -> None:
    """One message is one transaction. One that met another on the same catalogue row did nothing: do it again.

    A privilege that the admin may not hand out is only a warning to PostgreSQL; here it is a refusal.
    """
    refused: list[str] = []

    def warned(_: Any, message: Any) -> None:
        if message.sqlstate == "01007":
            refused.append(message.message)

    connection.add_log_listener(warned)
    try:
        for turn in range(_TURNS):
            try:
                await connection.execute(statements, timeout=_TIMEOUT)
                break
            except (asyncpg.InternalServerError, asyncpg.DeadlockDetectedError) as clash:
                # PostgreSQL has no code of its own for "tuple concurrently updated", and never translates it.
                if turn == _TURNS - 1 or not ("concurrently" in str(clash) or clash.sqlstate == "40P01"):
                    raise
                await asyncio.sleep(0.002 * 2**turn * (1 + secrets.randbelow(100) / 100))
    finally:
        connection.remove_log_listener(warned)
    if refused:
        raise IssuerUnavailable(
            "The database granted less than was asked.",
            next_step="Give the issuer's admin role what it hands out WITH GRANT OPTION.",
            inside=refused[0],
        )


async def _end_sessions(connection: Any, number: int) -> None:
    """Return when no session of the role with this oid is left; login must be refused already.

    A session that has been let in stays out of `pg_stat_activity` until it has started, and its client decides how
    long that takes (`post_auth_delay`). It is seen by the transaction it starts in. One that began after this look
    is refused; one that stays hidden is ended unless it is somebody else's, which PostgreSQL knows.
    """
    suspects = await _hidden(connection)
    for turn in range(_ROUNDS):
        if not await connection.fetch(_TERMINATE, number) and not suspects:
            return
        await asyncio.sleep(0.002 * min(turn + 1, 25))
        suspects &= await _hidden(connection) if suspects else set()
        if turn == _PATIENCE:
            suspects = {pid for pid in suspects if await _terminated(connection, pid)}
    raise IssuerUnavailable("A session of the role does not end.", inside=str(number))


async def _hidden(connection: Any) -> set[int]:
    return {row["pid"] for row in await connection.fetch(_HIDDEN)}


async def _terminated(connection: Any, pid: int) -> bool:
    try:
        return bool(await connection.fetchval("SELECT pg_terminate_backend($1)", pid))
    except asyncpg.InsufficientPrivilegeError:
        return False


def _role(lease: Lease) -> str:
    """The handle, which needs no quotes."""
    if not _HANDLE.match(lease.handle):
        raise WrongState(f"{lease.handle!r} is not a role this issuer makes")
    return lease.handle


def _whole(config: IssuerConfig, key: str, default: int, most: int) -> int:
    value = config.settings.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not min(default, 1) <= value <= most:
        raise BadField(key, f"must be {min(default, 1)} to {most}")
    return value
