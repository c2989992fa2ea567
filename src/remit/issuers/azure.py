"""Azure access tokens for one task, by a federated credential of an application (Entra workload identity federation).

Entra decides how long a token lives (60 to 90 minutes by default) and takes none back: until it is surely over, its
lease stays in sight.
"""

from __future__ import annotations

from collections.abc import Mapping

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, NotRecallable
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted

from . import Tools, text_of
from .federated import endpoint, known, lease_token, member, seconds_of, send, setting, unavailable, written

AUDIENCE = "api://AzureADTokenExchange"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LONGEST = 5_400


class AzureIssuer:
    """`grants`: `scope`, such as `https://storage.azure.com/.default`. Mints `access_token` and `expiration`."""

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools
        self._tenant = setting(config, "tenant", _GUID, "the tenant's id")
        self._client = setting(config, "client_id", _GUID, "the application's id")
        self._login = endpoint(config, "login_endpoint", "https://login.microsoftonline.com")

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        known(grants, "scope")
        scope = text_of(grants, "scope")
        if " " in scope or "://" not in scope or not scope.endswith("/.default") or not scope.isascii():
            raise BadField("grants.scope", "must be one resource's, such as https://storage.azure.com/.default")

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        self.checked(lease.grants)
        form = {
            "grant_type": "client_credentials",
            "client_id": self._client,
            "client_assertion_type": ASSERTION,
            "client_assertion": await lease_token(self._tools, lease, AUDIENCE),
            "scope": text_of(lease.grants, "scope"),
        }
        status, body = await send("POST", f"{self._login}/{self._tenant}/oauth2/v2.0/token", form=form)
        if status != 200:
            raise unavailable(f"Entra answered {status}")
        ends = self._tools.clock() + seconds_of(body, "expires_in", _LONGEST) * 1000
        return Minted(
            {"access_token": member(body, "access_token"), "expiration": written(min(ends, lease.expires_at))}
        )

    async def kill(self, lease: Lease) -> None:
        """See `ports.Issuer`."""
        over = lease.mint_until + _LONGEST * 1000
        if self._tools.clock() < over:
            raise NotRecallable("An Azure access token cannot be taken back.", until=over)
