"""Where a PostgreSQL server is: a DSN from the environment or a file, read again for every new connection.

`postgresql://user:password@host:port/database`, one host; `?host=/directory` for a socket, `?sslmode=…` for TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable


class Address:
    """Settings `dsn_env` (a variable's name) or `dsn_file` (a path), and `database` in place of the DSN's."""

    def __init__(self, config: IssuerConfig, environ: Mapping[str, str]) -> None:
        self._name, self._settings, self._environ = config.name, config.settings, environ
        if not ("dsn_env" in config.settings) ^ ("dsn_file" in config.settings):
            raise BadField("dsn_env", "say either dsn_env (a variable's name) or dsn_file (a path)")
        for key in ("dsn_env", "dsn_file", "database"):
            value = config.settings.get(key, "x")
            if not isinstance(value, str) or not value or "\x00" in value:
                raise BadField(key, "must be text")

    def parts(self) -> dict[str, str]:
        """`host`, `port`, `dbname`, and `sslmode` if the admin's own connection states one: a task's is no weaker."""
        url = self._url(self._dsn())
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        host = query.get("host") or _host(url)
        database = str(self._settings.get("database", "")) or unquote(url.path[1:]) or query.get("dbname", "")
        if not host or not database or "," in host:
            raise self._unusable()
        sslmode = {"sslmode": query["sslmode"]} if "sslmode" in query else {}
        return {"host": host, "port": query.get("port") or str(url.port or 5432), "dbname": database, **sslmode}

    def arguments(self, database: str = "") -> dict[str, Any]:
        """For the driver's `connect` and `create_pool`; it asks for the password at each connection."""
        dsn = self._dsn()
        password = (lambda: unquote(self._url(self._dsn()).password or "")) if self._url(dsn).password else None
        return {"dsn": dsn, "database": database or self.parts()["dbname"], "password": password}

    def _dsn(self) -> str:
        if "dsn_env" in self._settings:
            name = str(self._settings["dsn_env"])
            dsn, where = self._environ.get(name, ""), f"Set {name} in the server's environment."
        else:
            path = Path(str(self._settings["dsn_file"]))
            dsn, where = _text(path), f"Put it into {path}."
        if not dsn:
            raise IssuerUnavailable(f"Issuer {self._name} has no address.", next_step=where)
        return dsn

    def _url(self, dsn: str) -> SplitResult:
        try:
            url = urlsplit(dsn)
            usable = url.scheme in ("postgres", "postgresql") and (url.port is None or url.port > 0)
        except ValueError:  # its text may quote the password
            usable = False
        if not usable:
            raise self._unusable()
        return url

    def _unusable(self) -> IssuerUnavailable:
        shape = "postgresql://user:password@host:port/database"
        return IssuerUnavailable(
            f"Issuer {self._name} has an address that cannot be used.",
            next_step=f"Write it as {shape} with one host; percent-encode what is special in a password.",
        )


def _host(url: SplitResult) -> str:
    """A host, or a percent-encoded socket directory, whose case matters."""
    written = url.netloc.rpartition("@")[2]
    return unquote(written.partition(":")[0]) if "%" in written else url.hostname or ""


def _text(path: Path) -> str:
    try:
        with path.open() as file:
            return file.read(4096).strip()
    except (OSError, ValueError):
        return ""
