"""Bundles of foreign trust domains, from their endpoints (SPIFFE Federation section 5), kept as fresh as they ask.

A bundle is asked for again when its `spiffe_refresh_hint` is over, and for a key it does not have at most every 30
seconds, once at a time. When the endpoint cannot be reached, the last bundle serves an hour more; then it is
`Unavailable`. An empty bundle is an answer: everything of that domain is revoked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from remit.domain.errors import AddressRefused, BadToken, Refusal, Unavailable
from remit.domain.identity import SpiffeId, TrustDomain
from remit.formats import x509_svid
from remit.formats.spiffe import TrustBundle, parse_bundle

from .fetch import Peer, fetch

STALE_MS = 3_600_000
ASK_AGAIN_MS = 30_000
Fetch = Callable[..., Awaitable[bytes]]


@dataclass
class _Known:
    """What is known of one trust domain. Times in ms."""

    bundle: TrustBundle | None = None
    fetched_at: int = 0
    asked_at: int = 0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_due(self, now: int, kid: str) -> bool:
        """Whether to ask now: there is none, it is as old as it wants to be, or it has not this key."""
        if self.bundle is None:
            return True
        hint = self.bundle.refresh_hint * 1000
        if now - self.fetched_at >= hint:
            return now - self.asked_at >= min(hint, ASK_AGAIN_MS)
        lacking = bool(kid) and all(key.kid != kid for key in self.bundle.jwt_keys)
        return lacking and now - self.asked_at >= ASK_AGAIN_MS


class Bundles:
    """Fetches and remembers; a changed configuration of a domain starts anew."""

    def __init__(self, get: Fetch = fetch) -> None:
        self._get = get
        self._known: dict[TrustDomain, _Known] = {}

    async def bundle(self, domain: TrustDomain, now: int, *, kid: str = "") -> TrustBundle:
        """See `ports.Attestor`."""
        known = self._known.setdefault(domain, _Known())
        async with known.asking:
            if known.is_due(now, kid):
                known.asked_at = now
                try:
                    known.bundle = await self._ask(domain, known.bundle)
                    known.fetched_at = now
                except Refusal as refusal:
                    if known.bundle is None:
                        raise _unavailable(domain, refusal.inside or refusal.message) from refusal
            if known.bundle is None or now - known.fetched_at > known.bundle.refresh_hint * 1000 + STALE_MS:
                raise _unavailable(domain, "the bundle is too old")
            return known.bundle

    async def _ask(self, domain: TrustDomain, last: TrustBundle | None) -> TrustBundle:
        peer = None
        if domain.profile == "https_spiffe":
            # Section 5.2.2: the newest bundle we have authenticates the endpoint; the first is the bootstrap bundle.
            trusted = last or parse_bundle(domain.name, domain.bootstrap.encode())
            peer = _spiffe_peer(domain, trusted.authorities)
        body = await self._get(domain.bundle_url, allow_private=domain.allow_private_network, peer=peer)
        return parse_bundle(domain.name, body)


def _spiffe_peer(domain: TrustDomain, authorities: tuple[bytes, ...]) -> Peer:
    """TLS that believes this trust domain only, and only this endpoint of it; names and Web PKI play no part."""
    if not authorities:
        raise BadToken(
            "The trust bundle is not valid.", inside=f"{domain.name}: no authority to believe the endpoint by"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.load_verify_locations(cadata=b"".join(authorities))
    wanted = SpiffeId.parse(domain.endpoint_id)

    def check(leaf: bytes) -> None:
        found = x509_svid.claimed_id(leaf)
        if found != wanted:
            raise AddressRefused("An address could not be fetched.", inside=f"the endpoint is {found}, not {wanted}")

    return Peer(context, check)


def _unavailable(domain: TrustDomain, inside: str) -> Unavailable:
    return Unavailable(
        "The trust domain's keys cannot be had.", next_step="Try again shortly.", inside=f"{domain.name}: {inside}"
    )
