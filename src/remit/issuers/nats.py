"""NATS users that exist for one task: these subjects, their own inbox, and refused by every server when it is over.

An account's signing key makes a user without asking anybody: a JWT with its end in it (`exp`), and a key that is
derived from the signing key and the lease, so that whoever holds the lease can name the user and revoke it, even one
whose mint was never confirmed. A kill puts the user's key among the account's revocations, which takes the system
account and an operator's signing key; servers then refuse it and end its connections. Without those two nobody can
take a user back, and it dies at its end.
"""

from __future__ import annotations

import hmac
import re
import ssl
from collections.abc import Callable, Mapping
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, BadToken, IssuerUnavailable, NotRecallable, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted
from remit.formats import nkey
from remit.formats.nats_jwt import creds, user

from . import Tools, nats_grants
from .nats_revocations import Revocations
from .nats_system import System

_HANDLE = re.compile(r"remit_[a-z0-9_]{1,57}\Z")
_CLOCKS = 60_000  # ms that a server's clock may be behind ours
_LIMIT = 16_384


class NatsIssuer:
    """For `grants` see `nats_grants`. Mints `url`, `creds` (a credentials file), and `inbox_prefix` with `inbox`."""

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._url = _url(config)
        self._account = config.settings.get("account", "")
        if not nkey.is_public(self._account, nkey.ACCOUNT):
            raise BadField("account", "must be the account's public key, A…")
        self._ca = config.settings.get("ca_file", "")
        if not isinstance(self._ca, str) or ("ca_file" in config.settings and not self._ca.startswith("/")):
            raise BadField("ca_file", "must be an absolute path")
        self._clock = tools.clock
        self._signing = _secret(config, tools, "signing_seed")
        self._revocations = _revocations(config, tools, self._url, self._tls)
        if self._signing is None:
            raise BadField("signing_seed_env", "say either signing_seed_env (a variable's name) or signing_seed_file")

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        nats_grants.parse(grants, "_INBOX_x")

    async def mint(self, lease: Lease) -> Minted:
        """Sign it: nobody is asked. What is signed too late is thrown away, and its key is revoked all the same."""
        prefix = "_INBOX_" + _handle(lease)
        may = nats_grants.parse(lease.grants, prefix)
        if nats_grants.holes(lease.grants):
            raise WrongState("The grants need a parameter that was not stated.")
        by = self._signer()
        key, now = self._key(by, lease), self._in_time(lease)
        token = user(key, str(self._account), by, may, name=lease.handle, now=now // 1000, end=_end(lease))
        self._in_time(lease)
        parts = {"url": self._url, "creds": creds(token, key)}
        asks = {"inbox_prefix": prefix} if lease.grants.get("inbox") else {}
        return Minted({**parts, **asks}, reference=key.public)

    async def kill(self, lease: Lease) -> None:
        """Revoked at every server, and connected to none."""
        over = lease.expires_at + _CLOCKS
        # What is known by its reference stays killable when the signing key has been replaced.
        known = nkey.is_public(lease.reference, nkey.USER)
        public = lease.reference if known else self._key(self._signer(), lease).public
        if self._clock() >= over:
            return
        if self._revocations is None:
            raise NotRecallable("This issuer has no way into the system account to revoke a user.", until=over)
        await self._revocations.ensure(public, -(-lease.expires_at // 1000))

    async def close(self) -> None:
        """Close the connection to the system account."""
        if self._revocations is not None:
            await self._revocations.close()

    def _in_time(self, lease: Lease) -> int:
        now = self._clock()
        if now >= lease.mint_until or now // 1000 >= _end(lease):
            raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.")
        return now

    def _signer(self) -> nkey.Seed:
        assert self._signing is not None
        try:
            seed = nkey.Seed.parse(self._signing())
        except BadToken as flaw:
            raise IssuerUnavailable("The account's signing key cannot be read.", inside=flaw.inside) from None
        if seed.kind != nkey.ACCOUNT or seed.public == self._account:
            step = "Add a signing key to the account, and give its seed (SA…)."
            raise IssuerUnavailable("That is not a signing key of an account.", next_step=step, inside=seed.public)
        return seed

    def _key(self, by: nkey.Seed, lease: Lease) -> nkey.Seed:
        said = f"remit nats user\0{self._account}\0{_handle(lease)}".encode()
        return nkey.Seed.of(nkey.USER, hmac.digest(by.raw, said, sha256))

    def _tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=str(self._ca)) if self._ca else None


def _end(lease: Lease) -> int:
    """In seconds: servers end a connection up to one second after what its JWT says."""
    return lease.expires_at // 1000 - 1


def _handle(lease: Lease) -> str:
    if not _HANDLE.match(lease.handle):
        raise WrongState("This lease has no handle of ours.", inside=lease.handle[:80])
    return lease.handle


def _revocations(
    config: IssuerConfig, tools: Tools, url: str, tls: Callable[[], ssl.SSLContext | None]
) -> Revocations | None:
    """What a kill needs, all of it or nothing."""
    seed, system = _secret(config, tools, "operator_seed"), _secret(config, tools, "system_creds")
    operators = config.settings.get("operator_keys", ())
    if not isinstance(operators, list | tuple) or not all(nkey.is_public(key, nkey.OPERATOR) for key in operators):
        raise BadField("operator_keys", "must be the operator's public keys that may sign the account, O…")
    if seed is None and system is None and not operators:
        return None
    if seed is None or system is None or not operators:
        raise BadField(
            "operator_keys", "a kill needs operator_keys, an operator_seed and system_creds, or none of them"
        )
    account = str(config.settings["account"])
    return Revocations(
        System(tuple(url.split(",")), account, frozenset(map(str, operators)), system, seed, tls, tools.clock)
    )


def _secret(config: IssuerConfig, tools: Tools, name: str) -> Callable[[], str] | None:
    """From `NAME_env` (a variable's name) or `NAME_file` (a path), read whenever it is needed."""
    variable, path = (config.settings.get(f"{name}_{where}", "") for where in ("env", "file"))
    if not isinstance(variable, str) or not isinstance(path, str) or (variable and path):
        raise BadField(f"{name}_env", f"say either {name}_env (a variable's name) or {name}_file (a path)")
    if path and not path.startswith("/"):
        raise BadField(f"{name}_file", "must be an absolute path")
    if not variable and not path:
        return None

    def read() -> str:
        text = tools.environ.get(variable, "") if variable else _text(Path(path))
        if not text:
            step = f"Set {variable} in the server's environment." if variable else f"Put it into {path}."
            raise IssuerUnavailable(f"Issuer {config.name} has no {name}.", next_step=step)
        return text.strip()

    return read


def _text(path: Path) -> str:
    try:
        with path.open() as file:
            return file.read(_LIMIT)
    except (OSError, ValueError):
        return ""


def _url(config: IssuerConfig) -> str:
    """Addresses, tls:// each (nats:// on loopback only: whoever sits between could go on in a task's session)."""
    text = config.settings.get("url", "")
    if not isinstance(text, str) or len(text) > 2048 or not all(map(_is_usable, text.split(","))):
        raise BadField("url", "must be tls://HOST:PORT, or several with commas, without user information")
    return text


def _is_usable(text: str) -> bool:
    try:
        parts = urlsplit(text)
        plain = parts.scheme == "nats" and _is_loopback(parts.hostname or "")
        bare = not parts.username and not parts.query and not parts.fragment and parts.path in ("", "/")
        return bool(parts.hostname) and parts.port != 0 and bare and (parts.scheme == "tls" or plain)
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
