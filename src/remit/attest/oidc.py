"""OIDC federation and client attesters: whose keys verify a token, kept fresh without letting strangers make us fetch.

Keys of each are kept ten minutes. An unknown `kid` asks again, at most once in 30 seconds and once
at a time. When the issuer cannot be reached the old keys serve one hour more; then it is `Unavailable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from remit.domain.errors import AddressRefused, BadToken, Refusal, Unavailable
from remit.domain.flow import Json
from remit.domain.identity import Attester, Federation
from remit.formats import client_attestation, json_input, jwk, jws, oidc
from remit.formats.client_attestation import VerifiedAttestation

from .fetch import fetch

FRESH_MS = 600_000
STALE_MS = 3_600_000
ASK_AGAIN_MS = 30_000
Fetch = Callable[..., Awaitable[bytes]]


@dataclass
class _Keys:
    """What is known of one federation's keys. Times in ms."""

    keys: tuple[jwk.PublicKey, ...] = ()
    fetched_at: int = 0
    asked_at: int = 0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class OidcAttestor:
    """Implements `ports.Attestor`."""

    def __init__(self, get: Fetch = fetch) -> None:
        self._get = get
        self._known: dict[Federation | Attester, _Keys] = {}

    async def claims(self, federation: Federation, token: str, now: int) -> Mapping[str, Json]:
        """See `ports.Attestor`."""
        kid = jws.peek(token).kid
        keys = await self.keys(federation, kid, now)
        return oidc.parse(token, issuer=federation.issuer, audience=federation.audience, keys=keys, now=now)

    async def attestation(self, attester: Attester, token: str, audience: str, now: int) -> VerifiedAttestation:
        """See `ports.Attestor`."""
        pinned = client_attestation.pinned(attester)
        keys = pinned or await self.keys(attester, jws.peek(token).kid, now)
        return client_attestation.parse(token, issuer=attester.issuer, audience=audience, keys=keys, now=now)

    async def keys(self, federation: Federation | Attester, kid: str, now: int) -> tuple[jwk.PublicKey, ...]:
        """Its keys, with the one of this `kid` if that can be had; or `Unavailable`."""
        known = self._known.setdefault(federation, _Keys())
        async with known.asking:
            missing = not any(key.kid == kid for key in known.keys) if kid else not known.keys
            old = now - known.fetched_at > FRESH_MS
            if (missing or old) and (not known.asked_at or now - known.asked_at >= ASK_AGAIN_MS):
                known.asked_at = now
                try:
                    known.keys = await self._ask(federation)
                    known.fetched_at = now
                except Refusal as refusal:
                    if not known.keys:
                        known.asked_at = 0 if isinstance(refusal, AddressRefused) and not known.keys else now
                        raise _unavailable(federation, refusal) from refusal
            if now - known.fetched_at > FRESH_MS + STALE_MS:
                raise _unavailable(federation, None)
            return known.keys

    async def _ask(self, of: Federation | Attester) -> tuple[jwk.PublicKey, ...]:
        address = of.jwks_uri if isinstance(of, Attester) or of.jwks_uri else await self._discover(of)
        body = await self._get(address, allow_private=of.allow_private_network)
        document = json_input.parse(body, limit=len(body))
        return client_attestation.trusted(document) if isinstance(of, Attester) else jwk.parse_set(document)

    async def _discover(self, federation: Federation) -> str:
        document = await self.metadata(federation.issuer, federation.allow_private_network)
        address = document.get("jwks_uri")
        if not isinstance(address, str):
            raise BadToken("The token is not valid.", inside=f"{federation.issuer} names no jwks_uri")
        return address

    async def metadata(self, issuer: str, allow_private: bool) -> Mapping[str, Json]:
        """What the issuer says of itself; it must name the issuer that was asked (Discovery 1.0 section 4.3)."""
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        body = await self._get(url, allow_private=allow_private)
        document = json_input.parse(body, limit=len(body))
        if not isinstance(document, Mapping) or document.get("issuer") != issuer:
            raise BadToken("The token is not valid.", inside=f"{url} names another issuer")
        return document


def _unavailable(federation: Federation | Attester, refusal: Refusal | None) -> Unavailable:
    inside = (
        f"{federation.name}: {refusal.inside or refusal.message}" if refusal else f"{federation.name}: keys too old"
    )
    return Unavailable("The identity provider's keys cannot be had.", next_step="Try again shortly.", inside=inside)
