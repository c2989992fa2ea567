"""JWT access tokens for other resource servers (RFC 9068), bound to the task's key (RFC 9449).

A signed token cannot be taken back from whoever only reads it: `kill` has nothing upstream to do. It is refused
from the moment its lease is ending by everybody who introspects (RFC 7662), seconds later by everybody who looks it up
in its status list, and by everybody at its `exp`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from remit.domain.catalogue import IssuerConfig
from remit.domain.consent import has_key
from remit.domain.errors import BadField, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted
from remit.domain.task import Task
from remit.domain.transaction import TransactionRule
from remit.formats.jws import SigningKey
from remit.formats.rfc9068 import AccessToken, encode

from . import Tools, text_of


class JwtIssuer:
    """`grants`: `audience` (absolute URI of the resource server), `scope` (list of texts) and `transaction`."""

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        audience = text_of(grants, "audience")
        if "://" not in audience or "#" in audience:
            raise BadField("grants.audience", "must be an absolute URI without a fragment (RFC 8707)")
        if audience.rstrip("/") == self._tools.issuer_url.rstrip("/"):
            # Here it would pass for the task's own token, and outlive its lease.
            raise BadField("grants.audience", "is this server itself")
        scope = grants.get("scope", [])
        if not isinstance(scope, list | tuple) or len(scope) > 100 or not all(_is_scope(s) for s in scope):
            raise BadField("grants.scope", "must be at most 100 texts without spaces")
        for key in grants.keys() - {"audience", "scope", "transaction"}:
            raise BadField(f"grants.{key}", "is not known here; known: audience, scope, transaction")
        TransactionRule.of(grants)

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        self.checked(lease.grants)
        task = await self._tools.reader.get(Task, lease.task)
        if task is None:
            raise WrongState("The task is gone.")
        if not task.jkt:
            raise WrongState("The task has no key to bind a token to.")
        scope = lease.grants.get("scope", ())
        jkt = task.jkt if has_key(task.jkt) else ""
        token = AccessToken(
            issuer=self._tools.issuer_url,
            subject=str(task.initiator) if task.initiator.name != task.agent else f"agent:{task.agent}",
            audience=text_of(lease.grants, "audience"),
            client=task.agent,
            jti=lease.handle,
            jkt=jkt,
            issued_at=lease.reserved_at,
            expires_at=lease.expires_at,
            task=task.id,
            scope=" ".join(str(s) for s in scope) if isinstance(scope, list | tuple) else "",
            details=({"type": task.purpose, "task": task.id},),
            actor=tuple(hop.agent for hop in reversed(task.chain.hops)),
            status=lease.status,
        )
        kid = self._tools.signer.signing("token")
        key = SigningKey(kid, "ES256", lambda data: self._tools.signer.sign("token", data, kid).value)
        return Minted({"access_token": encode(token, key), "token_type": "DPoP" if jkt else "Bearer"})

    async def kill(self, lease: Lease) -> None:
        """See the module: the lease's state is the kill."""


def _is_scope(text: Json) -> bool:
    """RFC 6749 section 3.3: printable ASCII but space, `"` and `\\`."""
    return isinstance(text, str) and re.fullmatch(r"[!#-\[\]-~]{1,256}", text) is not None
