"""MariaDB and MySQL accounts that exist for one task: least grants, locked until they are whole, nothing left after.

The admin needs CREATE USER, what it hands out WITH GRANT OPTION, and CONNECTION ADMIN (MySQL: CONNECTION_ADMIN) to end
sessions. DDL is not transactional here, so an account is made locked, given its grants, and unlocked last, and each of
those only while the server's own clock is before `mint_until`. Accounts have no end of their own: with the setting
`backstop` (a database in which the admin has EVENT) the server itself drops them at the end; without, only Remit does.

What the server's logs see of a password is its hash. `mysql_native_password` is what both servers know.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha1, sha256
from typing import Any
from urllib.parse import parse_qs, unquote

import aiomysql
import pymysql

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted

from . import Tools
from .address import Dsn
from .mysql_grants import literal, parse, quoted

_HANDLE = re.compile(r"remit_[a-z0-9_]{1,57}\Z")
_HOLE = re.compile(r"\{[a-z_][a-z0-9_]*\}\Z")
_TIMEOUT = 10.0
_ROUNDS = 50
_MARGIN = 5_000  # ms: a mint must be over this long before its window closes
_IDLE = 30  # seconds after which an admin connection is made anew
# Nothing waits longer than the margin for a lock; what is written in quotes is text, whatever the server's default.
_SESSION = (
    "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES', sql_notes = 0, lock_wait_timeout = 2,"
    " innodb_lock_wait_timeout = 2, autocommit = 1"
)


class MysqlIssuer:
    """For `grants` see `mysql_grants.parse`. Mints `host`, `port`, `user`, `password`, `database`."""

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._dsn = Dsn(config, tools.environ, ("mysql", "mariadb"), "mysql://user:password@host:port/database")
        self._backstop = _text(config, "backstop")
        self._tls_required = config.settings.get("require_tls", False)
        self._limit = config.settings.get("connection_limit", 2)
        if not isinstance(self._tls_required, bool):
            raise BadField("require_tls", "must be true or false")
        if isinstance(self._limit, bool) or not isinstance(self._limit, int) or not 1 <= self._limit <= 100:
            raise BadField("connection_limit", "must be 1 to 100")
        self._pool: Any = None
        self._opening = asyncio.Lock()

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        parse(grants)

    async def mint(self, lease: Lease) -> Minted:
        """Make it locked, give it its grants, unlock it; each step only while there is time."""
        grants, user = parse(lease.grants), _account(lease)
        names = [name for grant in grants for name in (grant.database, grant.table, *grant.columns)]
        if any(_HOLE.match(name) for name in names):
            raise WrongState("The grants need a parameter that was not stated.")
        password = secrets.token_urlsafe(24)
        hashed = "*" + sha1(sha1(password.encode()).digest()).hexdigest().upper()  # noqa: S324 - the protocol's own
        require = "REQUIRE SSL" if self._tls_required else "REQUIRE NONE"
        steps = [
            f"CREATE USER {user} IDENTIFIED WITH mysql_native_password AS {literal(hashed)} {require}"
            f" WITH MAX_USER_CONNECTIONS {self._limit} ACCOUNT LOCK",
            *(grant.sql(user) for grant in grants),
            *self._event(lease),
            f"ALTER USER {user} ACCOUNT UNLOCK",
        ]
        last = min(lease.mint_until - _MARGIN, lease.expires_at)
        async with self._admin() as run:
            try:
                for step in steps:
                    await _in_time(run, step, last)
            except BaseException:
                await asyncio.shield(self._drop(run, lease))
                raise
        parts = self._parts()
        database = parts["database"] or grants[0].database
        return Minted({**parts, "database": database, "user": _user(lease), "password": password})

    async def kill(self, lease: Lease) -> None:
        """No new session first, then the live ones."""
        async with self._admin() as run:
            await self._drop(run, lease)

    async def close(self) -> None:
        """Close the admin connections."""
        if self._pool is not None:
            self._pool.terminate()
            await self._pool.wait_closed()
            self._pool = None

    async def _drop(self, run: Any, lease: Lease) -> None:
        user = _account(lease)
        await run(f"DROP USER IF EXISTS {user}")
        if self._backstop:
            await run(f"DROP EVENT IF EXISTS {quoted(self._backstop)}.{quoted(_user(lease))}")
        for _ in range(_ROUNDS):
            of = literal(_user(lease))
            alive = await run(f"SELECT id FROM information_schema.processlist WHERE user = {of}")  # noqa: S608
            if not alive:
                return
            for (number,) in alive:
                try:
                    await run(f"KILL CONNECTION {int(number)}")
                except pymysql.err.OperationalError as error:
                    if error.args[0] != 1094:  # it has gone by itself
                        raise
            await asyncio.sleep(0.02)
        raise IssuerUnavailable("Sessions of the task do not end.", inside=f"{len(alive)} of {_user(lease)}")

    def _event(self, lease: Lease) -> list[str]:
        """The server's own clock drops the account when nobody else does."""
        if not self._backstop:
            return []
        at = f"FROM_UNIXTIME({lease.expires_at} / 1000)"
        event = f"{quoted(self._backstop)}.{quoted(_user(lease))}"
        return [f"CREATE EVENT {event} ON SCHEDULE AT {at} DO DROP USER IF EXISTS {_account(lease)}"]

    def _parts(self) -> dict[str, str]:
        url = self._dsn.url()
        if not url.hostname:
            raise self._dsn.unusable()
        return {"host": url.hostname, "port": str(url.port or 3306), "database": unquote(url.path[1:])}

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        """`run(sql) -> rows`, in a session of its own settings; anything that goes wrong is `IssuerUnavailable`."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                pool = await self._opened()
                connection = await pool.acquire()
        except (OSError, TimeoutError, pymysql.err.MySQLError) as failure:
            raise _unavailable(failure) from None
        usable = False
        try:
            async with asyncio.timeout(_TIMEOUT), connection.cursor() as cursor:

                async def run(sql: str) -> Any:
                    await cursor.execute(sql)
                    return await cursor.fetchall()

                yield run
                usable = True
        except WrongState:
            usable = True
            raise
        except (OSError, TimeoutError, pymysql.err.MySQLError) as failure:
            raise _unavailable(failure) from None
        finally:
            if not usable:
                connection.close()
            await pool.release(connection)

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                url = self._dsn.url()
                query = {key: values[-1] for key, values in parse_qs(url.query).items()}
                context = ssl.create_default_context(cafile=query["ssl_ca"]) if "ssl_ca" in query else None
                self._pool = await aiomysql.create_pool(
                    minsize=0,
                    maxsize=8,
                    host=self._parts()["host"],
                    port=int(self._parts()["port"]),
                    user=unquote(url.username or ""),
                    password=unquote(url.password or ""),
                    unix_socket=query.get("socket"),
                    ssl=context,
                    connect_timeout=5,
                    pool_recycle=_IDLE,
                    init_command=_SESSION,
                    charset="utf8mb4",
                )
            return self._pool


async def _in_time(run: Any, statement: str, last: int) -> None:
    """Run one statement if the server's clock is before `last` (ms); one round trip decides and acts."""
    await run(f"SET @remit_step = IF(UNIX_TIMESTAMP(NOW(3)) * 1000 < {last}, {literal(statement)}, NULL)")
    if (await run("SELECT @remit_step IS NULL"))[0][0]:
        raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.")
    await run("PREPARE remit_step FROM @remit_step")
    await run("EXECUTE remit_step")


def _user(lease: Lease) -> str:
    """The handle, or what it comes to in the 32 characters that MySQL allows (104 bits of its hash)."""
    if not _HANDLE.match(lease.handle):
        raise WrongState("This lease has no handle of ours.", inside=lease.handle[:80])
    return lease.handle if len(lease.handle) <= 32 else "remit_" + sha256(lease.handle.encode()).hexdigest()[:26]


def _account(lease: Lease) -> str:
    return f"{literal(_user(lease))}@'%'"


def _text(config: IssuerConfig, key: str) -> str:
    value = config.settings.get(key, "")
    if not isinstance(value, str) or (key in config.settings and not 0 < len(value) <= 64):
        raise BadField(key, "must be the name of a database")
    return value


def _unavailable(failure: BaseException) -> IssuerUnavailable:
    """Its own number only: the text may quote what we sent."""
    number = failure.args[0] if failure.args and isinstance(failure.args[0], int) else ""
    inside = f"{type(failure).__name__} {number}".strip()
    return IssuerUnavailable("The database did not do it.", next_step="See `remit doctor`.", inside=inside)
