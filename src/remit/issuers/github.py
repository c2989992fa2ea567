"""GitHub App installation tokens for one task: these repositories, these permissions, and gone when the task is.

The App's private key comes from a file or the environment. GitHub lets a token be taken back only by whoever has it, so
it is kept with the lease, sealed, until its kill. Should Remit crash in the seconds between the answer and the note of
it, the token's own hour ends it, and until then its lease stays in sight.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, BadToken, IssuerUnavailable, NotRecallable, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted
from remit.formats import signing_key
from remit.formats.jws import SigningKey, sign

from . import Tools
from .federated import answer_of, endpoint, instant, known, member, send, setting, texts_of, unavailable, written

_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z")
_LEVELS = ("read", "write")
_FORBIDDEN = (
    "administration",
    "organization_administration",
    "members",
    "secrets",
    "organization_secrets",
    "actions_variables",
)
_HOUR, _IN_FLIGHT = 3_600_000, 12_000
_SCHEMA = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


class GithubIssuer:
    """`grants`: `repositories` (names, without their owner) and `permissions` (name to `read` or `write`).

    Mints `access_token` and `expiration`.
    """

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools
        self._client = setting(config, "client_id", r"[A-Za-z0-9.]{1,64}", "the App's client id")
        self._installation = setting(config, "installation", r"\d{1,20}", "the installation's number, as text")
        self._key_file = Path(setting(config, "private_key_file", r"/.+", "an absolute path"))
        self._api = endpoint(config, "api", "https://api.github.com")
        self._key: tuple[bytes, signing_key.PrivateKey] | None = None

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        known(grants, "repositories", "permissions")
        for name in texts_of(grants, "repositories"):
            if not _REPOSITORY.match(name) and not re.fullmatch(r"\{[a-z_][a-z0-9_]*\}", name):
                raise BadField("grants.repositories", "must be names of repositories, without their owner")
        _permissions(grants)

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        now = self._tools.clock()
        if now >= min(lease.mint_until - _IN_FLIGHT, lease.expires_at):
            raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.")
        repositories, permissions = texts_of(lease.grants, "repositories"), _permissions(lease.grants)
        if not all(_REPOSITORY.match(name) for name in repositories):
            raise WrongState("The grants need a parameter that was not stated, or is no repository's name.")
        url = f"{self._api}/app/installations/{self._installation}/access_tokens"
        wanted = {"repositories": repositories, "permissions": permissions}
        status, body = await send("POST", url, body=wanted, bearer=self._app(now), headers=_SCHEMA)
        if status != 201:
            raise unavailable(f"GitHub answered {status}")
        token = member(body, "token")
        wider = _wider(answer_of(body), repositories, permissions)
        if wider:
            await self._revoke(token)
            raise unavailable(f"GitHub granted more than was asked for: {wider}")
        sealed = self._tools.sealer.seal(token.encode(), _context(lease))
        ends = instant(member(body, "expires_at"))
        return Minted({"access_token": token, "expiration": written(min(ends, lease.expires_at))}, reference=sealed)

    async def kill(self, lease: Lease) -> None:
        """See `ports.Issuer`."""
        over = lease.mint_until + _HOUR
        if self._tools.clock() >= over:
            return
        if not lease.reference:
            raise NotRecallable("GitHub takes a token back only from whoever has it.", until=over)
        await self._revoke(self._tools.sealer.unseal(lease.reference, _context(lease)).decode())

    async def _revoke(self, token: str) -> None:
        status, _ = await send("DELETE", f"{self._api}/installation/token", bearer=token, headers=_SCHEMA)
        if status not in (204, 401):  # 401: it is no token any more
            raise unavailable(f"GitHub answered {status} to a revocation")

    def _app(self, now: int) -> str:
        """The App's own assertion, good for nine minutes."""
        try:
            pem = self._key_file.read_bytes()
            digest = sha256(pem).digest()
            if self._key is None or self._key[0] != digest:  # to check an RSA key takes as long as a hundred decisions
                self._key = (digest, signing_key.load_pem(pem))
            key = self._key[1]
        except (OSError, ValueError, BadToken) as failure:
            step = f"Put the App's private key (PEM) into {self._key_file}."
            raise IssuerUnavailable("Remit has no key of the GitHub App.", next_step=step) from failure
        if key.algorithm != "RS256":
            raise IssuerUnavailable("The GitHub App's key is not RSA.", next_step="Download it again from GitHub.")
        claims = {"iat": now // 1000 - 60, "exp": now // 1000 + 540, "iss": self._client}
        return sign(json.dumps(claims).encode(), typ="JWT", key=SigningKey("", "RS256", key.sign))


def _permissions(grants: Mapping[str, Json]) -> dict[str, str]:
    found = grants.get("permissions")
    if not isinstance(found, Mapping) or not 0 < len(found) <= 50:
        raise BadField("grants.permissions", "must be such as {contents = 'read'}")
    for name, level in found.items():
        if not re.fullmatch(r"[a-z_]{1,64}", name) or level not in _LEVELS:
            raise BadField("grants.permissions", "must be names with 'read' or 'write'")
        if name in _FORBIDDEN:
            raise BadField("grants.permissions", f"{name} manages access, and is not given to tasks")
    return {name: str(level) for name, level in found.items()}


def _wider(answer: Mapping[str, Any], repositories: list[str], permissions: Mapping[str, str]) -> str:
    """What the answer grants that was not asked for; metadata may always be read."""
    given, listed = answer.get("permissions"), answer.get("repositories")
    if (
        not isinstance(given, Mapping)
        or answer.get("repository_selection") != "selected"
        or not isinstance(listed, list)
    ):
        return "it does not say what"
    for name, level in given.items():
        if (
            (name, level) != ("metadata", "read")
            and level != permissions.get(name)
            and (level, permissions.get(name)) != ("read", "write")
        ):
            return "permissions"
    names = {one.get("name") if isinstance(one, Mapping) else None for one in listed}
    return "" if names <= set(repositories) else "repositories"


def _context(lease: Lease) -> bytes:
    return b"lease:" + lease.id.encode()
