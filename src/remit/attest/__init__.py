"""Foreign evidence becomes verified claims. Everything fetched from outside goes through `fetch`."""

from __future__ import annotations

from collections.abc import Mapping

from remit.domain.flow import Json
from remit.domain.identity import Attestation, Attester, Federation, TrustDomain
from remit.formats.aws_caller import Checked
from remit.formats.client_attestation import VerifiedAttestation
from remit.formats.client_id_metadata import ClientDocument
from remit.formats.client_id_metadata import parse as parse_client
from remit.formats.spiffe import TrustBundle

from .aws import AwsCallers
from .fetch import fetch as fetched
from .oidc import OidcAttestor
from .spiffe import Bundles


class Attestors:
    """Implements `ports.Attestor`."""

    def __init__(
        self, oidc: OidcAttestor | None = None, bundles: Bundles | None = None, aws: AwsCallers | None = None
    ) -> None:
        self._oidc = oidc or OidcAttestor()
        self._bundles = bundles or Bundles()
        self._aws = aws or AwsCallers()

    async def claims(self, federation: Federation, token: str, now: int) -> Mapping[str, Json]:
        """See `ports.Attestor`."""
        return await self._oidc.claims(federation, token, now)

    async def attestation(self, attester: Attester, token: str, audience: str, now: int) -> VerifiedAttestation:
        """See `ports.Attestor`."""
        return await self._oidc.attestation(attester, token, audience, now)

    async def client(self, rule: Attestation) -> ClientDocument:
        """See `ports.Attestor`."""
        return parse_client(await fetched(rule.client, allow_private=rule.allow_private_network), client=rule.client)

    async def caller(self, request: Checked) -> Mapping[str, Json]:
        """See `ports.Attestor`."""
        return await self._aws.caller(request)

    async def bundle(self, domain: TrustDomain, now: int, *, kid: str = "") -> TrustBundle:
        """See `ports.Attestor`."""
        return await self._bundles.bundle(domain, now, kid=kid)
