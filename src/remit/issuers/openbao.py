"""OpenBao or Vault as an upstream engine: its leases under our tasks.

For each lease of ours a token is made that can use one path and dies with the lease (`explicit_max_ttl`); what it reads
hangs from it. A kill revokes the upstream lease synchronously, then the token. When we crashed before we knew its
accessor, the token is found by its metadata, which names our handle. Remit itself signs in with its own federation
token (auth method `jwt`), so it has no long-lived secret there; or with a token in a file that somebody else renews.

Remit's policy there: `create` and `sudo` on `auth/token/create-orphan`, `update` on `auth/token/revoke-accessor`,
`auth/token/lookup-accessor` and `sys/leases/revoke`, `list` and `sudo` on `auth/token/accessors`.

OpenBao's own revocation of a PostgreSQL role cannot be done twice: its roles need `revocation_statements` that can.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted

from . import Tools, text_of
from .federated import answer_of, endpoint, federation_token, filled, known, member, send, setting, unavailable

_PATH = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_.{}-]+)+\Z")
_POLICY = r"[A-Za-z0-9_.-]{1,128}"
_FORBIDDEN = ("sys", "auth", "identity", "cubbyhole")
_ACCESSORS = 20_000
_IN_FLIGHT = 12_000


class OpenBaoIssuer:
    """`grants`: `path`, `policy` (which lets a token use that path and nothing else), `parameters`: then it is a write.

    Mints every text and number of the answer's `data`, and `lease_id`.
    """

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools
        self._address = endpoint(config, "address", "")
        self._role = config.settings.get("role", "")
        token_file = config.settings.get("token_file", "")
        if bool(self._role) == bool(token_file):
            raise BadField("role", "say either role (of the jwt auth method) or token_file (a path)")
        if token_file and not str(token_file).startswith("/"):
            raise BadField("token_file", "must be an absolute path")
        self._token_file = Path(str(token_file))
        self._login = setting(config, "auth_mount", r"[a-z0-9-]{1,64}", "a mount such as jwt") if self._role else ""
        self._audience = str(config.settings.get("audience", self._address))
        self._known: tuple[str, int] = ("", 0)
        self._handles: dict[str, str] = {}  # accessor → our handle, or "" when it is somebody else's
        self._looking = asyncio.Lock()

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        known(grants, "path", "policy", "parameters")
        path, parameters = text_of(grants, "path"), grants.get("parameters", {})
        parts = path.split("/")
        if not _PATH.match(path) or parts[0] in _FORBIDDEN or any(part in (".", "..") for part in parts):
            raise BadField("grants.path", "must be a path such as database/creds/readonly, of no system mount")
        policy = text_of(grants, "policy")
        if not re.fullmatch(_POLICY, policy) or policy == "root":
            raise BadField("grants.policy", "must be a policy's name, and not root")
        if not isinstance(parameters, Mapping) or not all(isinstance(v, str | int | bool) for v in parameters.values()):
            raise BadField("grants.parameters", "must be texts, numbers and flags")

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        self.checked(lease.grants)
        path = filled(text_of(lease.grants, "path"), lease, _part)
        accessor, token = await self._token(lease)
        try:
            self._in_time(lease)
            parameters: Any = lease.grants.get("parameters")
            wanted = {k: filled(v, lease, str) if isinstance(v, str) else v for k, v in dict(parameters or {}).items()}
            method = "PUT" if parameters else "GET"
            status, body = await self._ask(method, path, wanted if parameters else None, token)
            if status != 200:
                raise unavailable(f"OpenBao answered {status} to {method}")
            answer = answer_of(body)
        except BaseException:
            await self._revoke(accessor, alone=False)
            raise
        data, lease_id = answer.get("data"), str(answer.get("lease_id") or "")
        if not isinstance(data, Mapping):
            raise unavailable("the answer has no data")
        parts = {str(k): v if isinstance(v, str) else json.dumps(v) for k, v in data.items() if v is not None}
        return Minted({**parts, "lease_id": lease_id}, reference=f"{accessor} {lease_id}".strip())

    async def kill(self, lease: Lease) -> None:
        """See `ports.Issuer`."""
        accessor, _, lease_id = lease.reference.partition(" ")
        if lease_id:
            status, _ = await self._ask("PUT", "sys/leases/revoke", {"lease_id": lease_id, "sync": True})
            if status not in (200, 204, 400, 404):  # 400: it is not there any more
                raise unavailable(f"OpenBao answered {status} to a revocation")
            if status == 400 and await self._is_there(lease_id):
                raise unavailable("OpenBao did not revoke a lease")
        for found in [accessor] if accessor else await self._accessors(lease.handle):
            await self._revoke(found, alone=bool(lease_id))

    async def _token(self, lease: Lease) -> tuple[str, str]:
        now = self._tools.clock()
        self._in_time(lease)
        seconds = max(1, (lease.expires_at - now) // 1000)
        wanted = {
            "policies": [text_of(lease.grants, "policy")],
            "no_default_policy": True,
            "renewable": False,
            "ttl": f"{seconds}s",
            "explicit_max_ttl": f"{seconds}s",
            "num_uses": 2,  # with its last use a token would take what it read with it
            "display_name": lease.handle,
            "meta": {"remit_lease": lease.handle},
        }
        status, body = await self._ask("POST", "auth/token/create-orphan", wanted)
        if status != 200:
            raise unavailable(f"OpenBao answered {status} to a token's making")
        return member(body, "auth", "accessor"), member(body, "auth", "client_token")

    async def _revoke(self, accessor: str, *, alone: bool) -> None:
        """`alone`: nothing hangs from it any more.

        Then one whose revocation was cut short (`num_uses` -1: listed, of use to nobody, not to be revoked again)
        is as good as gone; OpenBao tidies it away at its end.
        """
        status, _ = await self._ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
        if status in (200, 204):
            return
        status, body = await self._ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        if status in (403, 404):
            return
        told: Any = answer_of(body).get("data") if status == 200 else None
        if not (alone and isinstance(told, Mapping) and told.get("num_uses") == -1):
            raise unavailable(f"a token is still there: {status}")

    async def _is_there(self, lease_id: str) -> bool:
        status, _ = await self._ask("PUT", "sys/leases/lookup", {"lease_id": lease_id})
        return status == 200

    async def listed(self) -> Sequence[str]:
        """See `ports.Lists`."""
        return sorted({of for of in (await self._looked_up()).values() if of})

    def name(self, lease: Lease) -> str:
        """See `ports.Lists`."""
        return lease.handle

    async def _accessors(self, handle: str) -> list[str]:
        """Tokens whose metadata names this handle: the way back after a crash."""
        return [accessor for accessor, of in (await self._looked_up()).items() if of == handle]

    async def _looked_up(self) -> Mapping[str, str]:
        """The accessor of each token, and the handle that its metadata names, or "".

        What was looked up once is remembered, so that each attempt goes on where the last ran out of time, however
        many tokens there are, and many attempts at once look each up once.
        """
        async with self._looking:
            status, body = await self._ask("LIST", "auth/token/accessors", None)
            if status == 404:
                return {}
            data = answer_of(body).get("data") if status == 200 else None
            keys = data.get("keys") if isinstance(data, Mapping) else None
            if not isinstance(keys, list) or len(keys) > _ACCESSORS:
                raise unavailable(f"tokens cannot be listed: {status}")
            listed = dict.fromkeys(map(str, keys))
            self._handles = {one: of for one, of in self._handles.items() if one in listed}
            for accessor in listed.keys() - self._handles.keys():
                status, body = await self._ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})
                if status == 200:
                    told: Any = answer_of(body).get("data")
                    meta = told.get("meta") if isinstance(told, Mapping) else None
                    self._handles[accessor] = str(meta.get("remit_lease", "")) if isinstance(meta, Mapping) else ""
                elif status not in (403, 404):
                    raise unavailable(f"a token cannot be looked up: {status}")
            return self._handles

    async def _ask(self, method: str, path: str, body: Any, token: str = "") -> tuple[int, bytes]:
        header = {"X-Vault-Token": token or await self._own(), "X-Vault-Request": "true"}
        return await send(method, f"{self._address}/v1/{path}", body=body, headers=header)

    async def _own(self) -> str:
        """Our own token; one from a sign-in serves until two thirds of its life are over."""
        if not self._role:
            try:
                return self._token_file.read_text().strip()
            except OSError as failure:
                step = f"Is {self._token_file} there?"
                raise IssuerUnavailable("Remit has no token for OpenBao.", next_step=step) from failure
        token, until = self._known
        now = self._tools.clock()
        if not token or now >= until:
            shown = federation_token(self._tools, self._audience)
            wanted = {"role": self._role, "jwt": shown}
            status, body = await send("POST", f"{self._address}/v1/auth/{self._login}/login", body=wanted)
            if status != 200:
                raise unavailable(f"OpenBao answered {status} to our sign-in")
            lasts: Any = (answer_of(body).get("auth") or {}).get("lease_duration")
            token = member(body, "auth", "client_token")
            self._known = (token, now + (int(lasts) if isinstance(lasts, int) else 0) * 667)
        return token

    def _in_time(self, lease: Lease) -> None:
        if self._tools.clock() >= min(lease.mint_until - _IN_FLIGHT, lease.expires_at):
            raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.")


def _part(value: str) -> str:
    """A parameter is one part of a path, and not one that climbs."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}", value):
        raise BadField("parameters", "may not change the shape of a path")
    return value
