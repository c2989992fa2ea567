"""What the catalogue says of an OAuth issuer: the resource, who we are at which authorization server, how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable
from remit.domain.flow import Json
from remit.formats import oauth_url
from remit.formats.rfc6749 import Client
from remit.formats.rfc8414 import BASIC, KEY, NONE, POST

GRANTS = ("authorization_code", "client_credentials")
_WITH_SECRET = (BASIC, POST)


@dataclass(frozen=True)
class Said:
    """`server` is the only authorization server to be used, or empty. `longest_life` of a token is in seconds.

    `own_name`: in Remit's own name, of nobody's grant.
    """

    resource: str
    server: str
    client: Client | None
    own_name: bool
    longest_life: int
    revoke: bool
    allow_private: bool
    secret_env: str
    secret_file: str

    @classmethod
    def of(cls, config: IssuerConfig) -> Said:
        """Read the settings; every flaw is a `BadField`."""
        said = config.settings
        grant, longest = said.get("grant", GRANTS[0]), said.get("longest_life", 3600)
        if grant not in GRANTS:
            raise BadField("grant", f"must be {' or '.join(GRANTS)}")
        if isinstance(longest, bool) or not isinstance(longest, int) or not 60 <= longest <= 86_400:
            raise BadField("longest_life", "must be 60 to 86400 seconds")
        server = said.get("authorization_server", "")
        if server:
            oauth_url.checked(server, "authorization_server", allow_private=True, query=False)
        own, env, file = grant == GRANTS[1], _text(said, "client_secret_env"), _text(said, "client_secret_file")
        client = _client(said, own, secret=bool(env or file))
        if client and not server:
            raise BadField("authorization_server", "is needed: who we are is known there, and nowhere else")
        if own and not client:
            raise BadField("client_id", "is needed for client_credentials")
        if (env and file) or (file and not file.startswith("/")):
            raise BadField("client_secret_file", "must be an absolute path, or say client_secret_env")
        resource = oauth_url.checked(said.get("resource"), "resource", allow_private=True, query=False)
        flags = _flag(said, "revoke", default=True), _flag(said, "allow_private_network", default=False)
        return cls(resource, str(server), client, own, longest, *flags, env, file)

    def secret(self, environ: Mapping[str, str]) -> str:
        """Read when it is used, so that it can be replaced."""
        try:
            found = environ.get(self.secret_env, "") if self.secret_env else Path(self.secret_file).read_text().strip()
        except (OSError, UnicodeDecodeError):
            found = ""
        if not re.fullmatch(r"[\x20-\x7e]{1,1024}", found):
            step = f"Set {self.secret_env}." if self.secret_env else f"Put it into {self.secret_file}."
            raise IssuerUnavailable("Remit has no client secret.", next_step=step)
        return found


def _client(said: Mapping[str, Json], own: bool, *, secret: bool) -> Client | None:
    name, method = _text(said, "client_id"), _text(said, "client_auth")
    if not name:
        if method or secret:
            raise BadField("client_id", "is needed with client_auth or a secret")
        return None
    if not re.fullmatch(r"[\x21-\x7e]{1,1024}", name):
        raise BadField("client_id", "must be text without spaces")
    method = method or (BASIC if secret else KEY if own else NONE)
    if method not in (*_WITH_SECRET, KEY, NONE):
        raise BadField("client_auth", f"must be one of {BASIC}, {POST}, {KEY}, {NONE}")
    if (method in _WITH_SECRET) is not secret:
        raise BadField("client_secret_file", f"{method} takes {'a' if method in _WITH_SECRET else 'no'} secret")
    if own and method == NONE:
        raise BadField("client_auth", "client_credentials needs proof of who we are")
    return Client(name, method)


def _text(said: Mapping[str, Json], name: str) -> str:
    value = said.get(name, "")
    if not isinstance(value, str):
        raise BadField(name, "must be text")
    return value


def _flag(said: Mapping[str, Json], name: str, *, default: bool) -> bool:
    value = said.get(name, default)
    if not isinstance(value, bool):
        raise BadField(name, "must be true or false")
    return value
