"""Where a server is: a URL from the environment or a file, never from the catalogue, read again when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable

SETTINGS = ("dsn_env", "dsn_file")


class Dsn:
    """Settings `dsn_env` (a variable's name) or `dsn_file` (a path); `shape` is how a usable one is written."""

    def __init__(self, config: IssuerConfig, environ: Mapping[str, str], schemes: tuple[str, ...], shape: str) -> None:
        self._name, self._settings, self._environ = config.name, config.settings, environ
        self._schemes, self._shape = schemes, shape
        if not ("dsn_env" in config.settings) ^ ("dsn_file" in config.settings):
            raise BadField("dsn_env", "say either dsn_env (a variable's name) or dsn_file (a path)")
        for key in (*SETTINGS, "database"):
            value = config.settings.get(key, "x")
            if not isinstance(value, str) or not value or "\x00" in value:
                raise BadField(key, "must be text")

    def text(self) -> str:
        """The whole URL, password and all."""
        if "dsn_env" in self._settings:
            name = str(self._settings["dsn_env"])
            dsn, where = self._environ.get(name, ""), f"Set {name} in the server's environment."
        else:
            path = Path(str(self._settings["dsn_file"]))
            dsn, where = _text(path), f"Put it into {path}."
        if not dsn:
            raise IssuerUnavailable(f"Issuer {self._name} has no address.", next_step=where)
        return dsn

    def url(self) -> SplitResult:
        """It, taken apart."""
        try:
            url = urlsplit(self.text())
            usable = url.scheme in self._schemes and (url.port is None or url.port > 0)
        except ValueError:  # its text may quote the password
            usable = False
        if not usable:
            raise self.unusable()
        return url

    def unusable(self) -> IssuerUnavailable:
        """What to say of one that cannot be used."""
        return IssuerUnavailable(
            f"Issuer {self._name} has an address that cannot be used.",
            next_step=f"Write it as {self._shape}; percent-encode what is special in a password.",
        )


def _text(path: Path) -> str:
    try:
        with path.open() as file:
            return file.read(4096).strip()
    except (OSError, ValueError):
        return ""
