"""A sealed static secret, for what cannot be dynamic. It is opened at the mint and kept nowhere else.

Nothing upstream can be killed: the lease bounds how long it is used through us, and rotation is what ends it.
That is why an agent sees one only if its purpose says `reveal`.
"""

from __future__ import annotations

from collections.abc import Mapping

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted
from remit.domain.secret import SealedSecret, key_of

from . import Tools, text_of


class StaticIssuer:
    """`grants`: `secret`, the name it was sealed under. Which version, the lease says (`holds`)."""

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        text_of(grants, "secret")
        for key in grants.keys() - {"secret"}:
            raise BadField(f"grants.{key}", "is not known here; known: secret")

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        name = text_of(lease.grants, "secret")
        row = await self._tools.reader.get(SealedSecret, key_of(lease.holds))
        if row is None or row.name != name or not row.active_at(self._tools.clock()):
            raise IssuerUnavailable(f"Nothing is sealed as {name}.", next_step=f"remit secret put {name}")
        return Minted({"value": self._tools.sealer.unseal(row.envelope, row.context).decode()})

    async def kill(self, lease: Lease) -> None:
        """See the module: there is nothing upstream to kill."""
