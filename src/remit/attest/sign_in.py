"""The authorization code flow with PKCE at people's identity providers, as far as it needs the network.

OpenID Connect Core 1.0 section 3.1, RFC 7636 (S256 only), RFC 9207 (`iss`), RFC 9700 section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlencode

from remit.domain.errors import BadToken, Refusal
from remit.domain.flow import Json
from remit.domain.session import Provider
from remit.formats import base64url, json_input, oidc
from remit.ports import Authorization

from .fetch import Form, fetch
from .oidc import Fetch
from .relying_party import RelyingParty, unreachable

NOT_SIGNED_IN = "The identity provider did not sign you in."


class SignIns:
    """Implements `ports.IdentityProviders`."""

    def __init__(self, party: RelyingParty, get: Fetch = fetch) -> None:
        self._party = party
        self._get = get

    async def address(self, provider: Provider, asked: Authorization, now: int) -> str:
        """See `ports.IdentityProviders`."""
        endpoint = await self._party.endpoint(provider, "authorization_endpoint", now)
        query = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": asked.redirect_uri,
            "scope": " ".join(provider.scopes),
            "state": asked.state,
            "nonce": asked.nonce,
            "code_challenge": base64url.encode(sha256(asked.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def claims(
        self, provider: Provider, asked: Authorization, code: str, iss: str, now: int
    ) -> Mapping[str, Json]:
        """See `ports.IdentityProviders`."""
        document = await self._party.metadata(provider, now)
        says_iss = document.get("authorization_response_iss_parameter_supported") is True
        if (iss or says_iss) and iss != provider.issuer:
            raise BadToken(NOT_SIGNED_IN, inside=f"{provider.name}: the answer came from {iss[:200]!r}")
        token = await self._exchange(provider, asked, code, now)
        try:
            claims = await self._party.claims(provider, token, now)
            oidc.check_signed_in(claims, client_id=provider.client_id, nonce=asked.nonce)
        except BadToken as refused:
            raise BadToken(NOT_SIGNED_IN, inside=f"{provider.name}: {refused.inside or refused.message}") from refused
        return claims

    async def _exchange(self, provider: Provider, asked: Authorization, code: str, now: int) -> str:
        endpoint = await self._party.endpoint(provider, "token_endpoint", now)
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": asked.redirect_uri,
            "code_verifier": asked.verifier,
        }
        body = await self._guarded(provider, endpoint, await self._party.proved(provider, fields, now))
        answer = json_input.parse(body, limit=len(body))
        token = answer.get("id_token") if isinstance(answer, Mapping) else None
        if not isinstance(token, str):
            raise BadToken(NOT_SIGNED_IN, inside=f"{provider.name}: the token endpoint gave no ID token")
        return token

    async def _guarded(self, provider: Provider, url: str, form: Form) -> bytes:
        try:
            return await self._get(url, allow_private=provider.allow_private_network, form=form)
        except Refusal as refusal:
            if refusal.inside.startswith("status 4"):
                raise BadToken(NOT_SIGNED_IN, inside=f"{provider.name}: {refusal.inside}") from refusal
            raise unreachable(provider, refusal) from refusal
