"""Where a PostgreSQL server is (see `address`), and what libpq keywords say of it.

`postgresql://user:password@host:port/database`, one host; `?host=/directory` for a socket, `?sslmode=…` for TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote

from remit.domain.catalogue import IssuerConfig

from .address import Dsn

SHAPE = "postgresql://user:password@host:port/database with one host"


class Address:
    """`dsn_env` or `dsn_file`, and `database` in place of the DSN's."""

    def __init__(self, config: IssuerConfig, environ: Mapping[str, str]) -> None:
        self._settings = config.settings
        self._dsn = Dsn(config, environ, ("postgres", "postgresql"), SHAPE)

    def parts(self) -> dict[str, str]:
        """`host`, `port`, `dbname`, and `sslmode` if the admin's own connection states one: a task's is no weaker."""
        url = self._dsn.url()
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        host = query.get("host") or _host(url)
        database = str(self._settings.get("database", "")) or unquote(url.path[1:]) or query.get("dbname", "")
        if not host or not database or "," in host:
            raise self._dsn.unusable()
        sslmode = {"sslmode": query["sslmode"]} if "sslmode" in query else {}
        return {"host": host, "port": query.get("port") or str(url.port or 5432), "dbname": database, **sslmode}

    def arguments(self, database: str = "") -> dict[str, Any]:
        """For the driver's `connect` and `create_pool`; it asks for the password at each connection."""
        password = (lambda: unquote(self._dsn.url().password or "")) if self._dsn.url().password else None
        return {"dsn": self._dsn.text(), "database": database or self.parts()["dbname"], "password": password}


def _host(url: SplitResult) -> str:
    """A host, or a percent-encoded socket directory, whose case matters."""
    written = url.netloc.rpartition("@")[2]
    return unquote(written.partition(":")[0]) if "%" in written else url.hostname or ""
