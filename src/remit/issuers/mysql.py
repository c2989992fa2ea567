"""MariaDB and MySQL accounts that exist for one task: least grants, locked until they are whole, nothing left after.

The admin needs CREATE USER, PROCESS, what it hands out WITH GRANT OPTION, and CONNECTION ADMIN (MySQL:
CONNECTION_ADMIN) to end sessions. DDL is not transactional here, so an account is made locked, given its grants, and
unlocked last, in one message whose first and last steps fail unless the server's own clock is before `mint_until`.
Accounts have no end of their own: with the setting `backstop` (a database in which the admin has EVENT) the server
itself drops them at the end; without, only Remit does.

What the server's logs see of a password is its hash. A task can do what PUBLIC and anonymous accounts can do, too.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256

from pymysql.err import MySQLError

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted

from . import Tools
from .address import Dsn
from .mysql_grants import literal, parse, quoted
from .mysql_password import caching_sha2, native
from .mysql_sessions import Session, Sessions

_HANDLE = re.compile(r"remit_[a-z0-9_]{1,57}\Z")
_HOLE = re.compile(r"\{[a-z_][a-z0-9_]*\}\Z")
_ROUNDS = 50
_MARGIN = 5_000  # ms: a mint must be over this long before its window closes; how far two clocks may be apart
_GONE = 1094  # KILL of a session that has ended by itself
_TOO_LATE = 1690  # unsigned subtraction below zero


class MysqlIssuer:
    """For `grants` see `mysql_grants.parse`. Mints `host`, `port`, `user`, `password`, `database`."""

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        shape = "mysql://user:password@host:port/database, with ?ssl=true or ?ssl_ca=FILE for TLS"
        self._sessions = Sessions(Dsn(config, tools.environ, ("mysql", "mariadb"), shape))
        self._backstop = _text(config, "backstop")
        self._tls_required = config.settings.get("require_tls", False)
        self._limit = config.settings.get("connection_limit", 2)
        if not isinstance(self._tls_required, bool):
            raise BadField("require_tls", "must be true or false")
        if isinstance(self._limit, bool) or not isinstance(self._limit, int) or not 1 <= self._limit <= 100:
            raise BadField("connection_limit", "must be 1 to 100")

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        parse(grants)

    async def mint(self, lease: Lease) -> Minted:
        """Make it locked, give it its grants, unlock it, in time or not at all."""
        grants, user = parse(lease.grants), _account(lease)
        names = [name for grant in grants for name in (grant.database, grant.table, *grant.columns)]
        if any(_HOLE.match(name) for name in names):
            raise WrongState("The grants need a parameter that was not stated.")
        parts, password = self._sessions.parts(), secrets.token_urlsafe(24)
        # A task's connection is no weaker than the admin's.
        require = "SSL" if self._tls_required or self._sessions.tls() else "NONE"
        in_time = _in_time(lease, backstop=bool(self._backstop))
        async with self._sessions.one() as session:
            if self._backstop:
                await _scheduled(session)
            steps = [
                in_time,
                f"CREATE USER {user} IDENTIFIED WITH {await _kept(session, password)} REQUIRE {require}"
                f" WITH MAX_USER_CONNECTIONS {self._limit} ACCOUNT LOCK",
                *(grant.sql(user) for grant in grants),
                *([self._event(lease)] if self._backstop else []),
                in_time,
                f"ALTER USER {user} ACCOUNT UNLOCK",
            ]
            try:
                await session.run(*steps)
            except MySQLError as failure:
                with suppress(MySQLError, OSError, IssuerUnavailable):
                    await self._drop(session, lease)
                if failure.args[0] == _TOO_LATE:
                    raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.") from None
                raise
        database = parts["database"] or grants[0].database
        return Minted({**parts, "database": database, "user": _user(lease), "password": password})

    async def kill(self, lease: Lease) -> None:
        """No new session first, then the live ones."""
        async with self._sessions.one() as session:
            await self._drop(session, lease)

    async def close(self) -> None:
        """Close the admin connections."""
        await self._sessions.close()

    async def _drop(self, session: Session, lease: Lease) -> None:
        # A session that is still logging in is listed under its name from before the server looks the account up.
        listed = f"SELECT id FROM information_schema.processlist WHERE user = {literal(_user(lease))}"  # noqa: S608
        alive = await session.run(f"DROP USER IF EXISTS {_account(lease)}", listed)
        for _ in range(_ROUNDS):
            if not alive:
                break
            for (number,) in alive:
                try:
                    await session.run(f"KILL CONNECTION {int(number)}")
                except MySQLError as error:
                    if error.args[0] != _GONE:
                        raise
            await asyncio.sleep(0.02)
            alive = await session.run(listed)
        else:
            raise IssuerUnavailable("Sessions of the task do not end.", inside=f"{len(alive)} of {_user(lease)}")
        if self._backstop:
            await session.run(f"DROP EVENT IF EXISTS {quoted(self._backstop)}.{quoted(_user(lease))}")

    def _event(self, lease: Lease) -> str:
        """The server's own clock ends the account and its sessions when nobody else does."""
        listed = f"SELECT id FROM information_schema.processlist WHERE user = {literal(_user(lease))}"  # noqa: S608
        return (
            f"CREATE EVENT {quoted(self._backstop)}.{quoted(_user(lease))}"
            f" ON SCHEDULE AT FROM_UNIXTIME({lease.expires_at // 1000}) ON COMPLETION NOT PRESERVE DO BEGIN"
            f" DECLARE number BIGINT; DECLARE alive CURSOR FOR {listed};"
            f" DECLARE CONTINUE HANDLER FOR {_GONE} BEGIN END; DECLARE EXIT HANDLER FOR NOT FOUND BEGIN END;"
            f" DROP USER IF EXISTS {_account(lease)};"
            " OPEN alive; LOOP FETCH alive INTO number; KILL CONNECTION number; END LOOP; END"
        )


def _in_time(lease: Lease, *, backstop: bool) -> str:
    """Fails once the server's clock has passed the end of the window. An event's time must still be to come."""
    ends = lease.expires_at // 1000 * 1000 - 500 if backstop else lease.expires_at
    last = max(0, min(lease.mint_until - _MARGIN, ends))
    return f"SET @remit_left = CAST({last} AS UNSIGNED) - CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS UNSIGNED)"


async def _scheduled(session: Session) -> None:
    """A backstop that nobody runs is none."""
    if (await session.run("SELECT @@event_scheduler"))[0][0] != "ON":
        step = "SET GLOBAL event_scheduler = ON, or take `backstop` out of the issuer."
        raise IssuerUnavailable("The database runs no events, so it is no backstop.", next_step=step)


async def _kept(session: Session, password: str) -> str:
    """The plugin that this server takes by default, and what it keeps of the password."""
    if session.mariadb:
        return f"mysql_native_password AS {literal(native(password))}"
    return f"caching_sha2_password AS {literal(await asyncio.to_thread(caching_sha2, password))}"


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
