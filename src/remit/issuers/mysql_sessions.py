"""Admin sessions at a MariaDB or MySQL server: few, kept open, of settings that no server default can bend."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote

import aiomysql
from pymysql.constants import CLIENT
from pymysql.err import InterfaceError, MySQLError, OperationalError

from remit.domain.errors import IssuerUnavailable

from .address import Dsn

_TIMEOUT = 10.0
_AT_ONCE = 8
_TRUSTED = 1.0  # seconds for which an idle connection is believed in without asking
# Without NO_AUTO_CREATE_USER, MariaDB's GRANT to an account that a kill just dropped makes it again, with no password.
# UTC, because an hour that comes twice would make the clock ambiguous. MySQL takes what is in /*M! */ for a comment.
_SETTINGS = (
    "SET SESSION sql_mode = CONCAT('NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES' /*M! , ',NO_AUTO_CREATE_USER' */),"
    " sql_notes = 0, time_zone = '+00:00', lock_wait_timeout = 2, innodb_lock_wait_timeout = 2"
    " /*M! , max_statement_time = 4 */"
)
# Whoever lacks PROCESS sees only its own sessions, so a kill would find nothing to end. This look is refused then.
_SEES_ALL = "SELECT 1 FROM information_schema.innodb_trx LIMIT 1"
_NO_PROCESS = 1227


class Session(aiomysql.Connection):  # type: ignore[misc]
    """One connection that says nothing in the clear when TLS was asked for, whatever the server offers."""

    address = ""
    used_at = 0.0
    mariadb = False

    async def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Send them as one message; the server stops at the first that fails. The rows of all."""
        await self.query(";".join(statements))
        rows = list(self._result.rows or ())
        while self._result.has_next:
            await self.next_result()
            rows += self._result.rows or ()
        return rows

    async def _request_authentication(self) -> None:
        # The driver would go on without TLS when the server, or somebody between, says there is none.
        if self._ssl_context and not self.server_capabilities & CLIENT.SSL:
            raise OperationalError(2026, "no TLS")
        await super()._request_authentication()

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        if plugin_name in (b"mysql_clear_password", b"mysql_old_password") and not self._secure:
            raise OperationalError(2059, "a password in the clear")
        return await super()._process_auth(plugin_name, auth_packet)


class Sessions:
    """Sessions at one address, which is read again each time: another password means other connections."""

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn
        self._idle: list[Session] = []
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def parts(self) -> dict[str, str]:
        """`host`, `port`, `database` (which may be "")."""
        url = self._dsn.url()
        if not url.hostname:
            raise self._dsn.unusable()
        return {"host": url.hostname, "port": str(url.port or 3306), "database": unquote(url.path[1:])}

    def tls(self) -> bool:
        """Whether the address asks for it: `?ssl_ca=FILE`, or `?ssl=true` for the authorities of the system."""
        return bool(self._options())

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Session]:
        """A session for one piece of work. Whatever the driver raises becomes `IssuerUnavailable`."""
        try:
            async with asyncio.timeout(_TIMEOUT), self._turns:
                session = await self._ready()
                try:
                    yield session
                except BaseException:
                    session.close()
                    raise
                session.used_at = time.monotonic()
                self._idle.append(session)
        except (OSError, TimeoutError, MySQLError) as failure:
            raise unavailable(failure) from None

    async def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            await self._idle.pop().ensure_closed()

    async def _ready(self) -> Session:
        address = self._dsn.text()
        while self._idle:
            session = self._idle.pop()
            if session.address == address and await _answers(session):
                return session
            session.close()
        return await self._opened(address)

    async def _opened(self, address: str) -> Session:
        url, parts, options = self._dsn.url(), self.parts(), self._options()
        tls = ssl.create_default_context(cafile=options.get("ssl_ca")) if options else None
        session = Session(
            host=parts["host"],
            port=int(parts["port"]),
            user=unquote(url.username or ""),
            password=unquote(url.password or ""),
            ssl=tls,
            connect_timeout=5,
            autocommit=True,
            charset="utf8mb4",
            client_flag=CLIENT.MULTI_STATEMENTS,
        )
        await session._connect()
        try:
            await session.run(_SETTINGS, _SEES_ALL)
            session.mariadb = "MariaDB" in (await session.run("SELECT VERSION()"))[0][0]
        except BaseException:
            session.close()
            raise
        session.address = address
        return session

    def _options(self) -> dict[str, str]:
        options = {key: values[-1] for key, values in parse_qs(self._dsn.url().query).items()}
        if options.keys() - {"ssl", "ssl_ca"} or options.get("ssl", "true") != "true":
            raise self._dsn.unusable()
        return options


async def _answers(session: Session) -> bool:
    if session.closed or session._reader.at_eof() or session._reader.exception():
        return False
    if time.monotonic() - session.used_at < _TRUSTED:
        return True
    try:
        await session.ping(reconnect=False)
    except (OSError, MySQLError):
        return False
    return True


def unavailable(failure: BaseException) -> IssuerUnavailable:
    """Its own number only: the text may quote what we sent."""
    number = failure.args[0] if failure.args and isinstance(failure.args[0], int) else ""
    step = "It is tried again; `remit doctor` checks the issuer."
    if number == _NO_PROCESS:
        step = "Give the issuer's admin PROCESS, CREATE USER and what it hands out WITH GRANT OPTION."
    sort = "did not answer" if isinstance(failure, OSError | TimeoutError | InterfaceError) else "did not do it"
    return IssuerUnavailable(
        f"The database {sort}.", next_step=step, inside=f"{type(failure).__name__} {number}".strip()
    )
