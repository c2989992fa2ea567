"""The authorization code flow with PKCE at people's identity providers, as far as it needs the network.

OpenID Connect Core 1.0 section 3.1, RFC 7636 (S256 only), RFC 9207 (`iss`), RFC 9700 section 2.1. Metadata is kept ten
minutes; tokens are verified like any other issuer's, and everything is fetched through the same guard.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode

from remit.domain.errors import BadToken, Refusal, Unavailable
from remit.domain.flow import Json
from remit.domain.identity import Federation
from remit.domain.session import Provider
from remit.formats import base64url, json_input, oidc
from remit.ports import Authorization

from .fetch import Form, fetch
from .oidc import FRESH_MS, Fetch, OidcAttestor

SECRET_LIMIT = 4096
NOT_SIGNED_IN = "The identity provider did not sign you in."


class SignIns:
    """Implements `ports.IdentityProviders`. `environ` is where client secrets may be."""

    def __init__(self, environ: Mapping[str, str], get: Fetch = fetch) -> None:
        self._environ = environ
        self._get = get
        self._oidc = OidcAttestor(get)
        self._known: dict[str, tuple[int, Mapping[str, Json]]] = {}

    async def address(self, provider: Provider, asked: Authorization, now: int) -> str:
        """See `ports.IdentityProviders`."""
        endpoint = await self._endpoint(provider, "authorization_endpoint", now)
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
        document = await self._metadata(provider, now)
        says_iss = document.get("authorization_response_iss_parameter_supported") is True
        if (iss or says_iss) and iss != provider.issuer:
            raise BadToken(NOT_SIGNED_IN, inside=f"{provider.name}: the answer came from {iss[:200]!r}")
        token = await self._exchange(provider, document, asked, code, now)
        federation = Federation(
            f"sign_in.{provider.name}",
            provider.issuer,
            provider.client_id,
            allow_private_network=provider.allow_private_network,
        )
        try:
            claims = await self._oidc.claims(federation, token, now)
            oidc.check_signed_in(claims, client_id=provider.client_id, nonce=asked.nonce)
        except BadToken as refused:
            raise BadToken(NOT_SIGNED_IN, inside=f"{provider.name}: {refused.inside or refused.message}") from refused
        return claims

    async def _exchange(
        self, provider: Provider, document: Mapping[str, Json], asked: Authorization, code: str, now: int
    ) -> str:
        endpoint = await self._endpoint(provider, "token_endpoint", now)
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": asked.redirect_uri,
            "code_verifier": asked.verifier,
        }
        secret, basic = self._secret(provider), None
        ways = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if secret and isinstance(ways, list) and "client_secret_basic" in ways:
            basic = (provider.client_id, secret)
        else:
            fields |= {"client_id": provider.client_id, **({"client_secret": secret} if secret else {})}
        body = await self._guarded(provider, endpoint, Form(fields, basic))
        answer = json_input.parse(body, limit=len(body))
        token = answer.get("id_token") if isinstance(answer, Mapping) else None
        if not isinstance(token, str):
            raise BadToken(NOT_SIGNED_IN, inside=f"{provider.name}: the token endpoint gave no ID token")
        return token

    def _secret(self, provider: Provider) -> str:
        if not provider.secret_env and not provider.secret_file:
            return ""
        found = self._environ.get(provider.secret_env, "")
        if provider.secret_file:
            try:
                found = Path(provider.secret_file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as unread:
                raise Unavailable(
                    "Signing in is not possible now.", inside=f"{provider.secret_file}: {unread}"
                ) from unread
        if not found or len(found) > SECRET_LIMIT:
            where = provider.secret_env or provider.secret_file
            raise Unavailable("Signing in is not possible now.", inside=f"{provider.name}: no client secret in {where}")
        return found

    async def _endpoint(self, provider: Provider, name: str, now: int) -> str:
        found = (await self._metadata(provider, now)).get(name)
        schemes = ("https://", "http://") if provider.allow_private_network else ("https://",)
        # The browser is sent there: no other scheme, and nothing that changes what is added to it.
        if not isinstance(found, str) or not found.startswith(schemes) or not found.isascii() or "#" in found:
            raise Unavailable("Signing in is not possible now.", inside=f"{provider.name} names no {name} of use")
        if len(found) > 2048 or any(c <= " " for c in found):
            raise Unavailable("Signing in is not possible now.", inside=f"{provider.name} names no {name} of use")
        return found

    async def _metadata(self, provider: Provider, now: int) -> Mapping[str, Json]:
        at, document = self._known.get(provider.way, (0, {}))
        if not document or now - at > FRESH_MS:
            try:
                document = await self._oidc.metadata(provider.issuer, provider.allow_private_network)
            except Refusal as refusal:
                raise _unavailable(provider, refusal) from refusal
            self._known[provider.way] = (now, document)
        return document

    async def _guarded(self, provider: Provider, url: str, form: Form) -> bytes:
        try:
            return await self._get(url, allow_private=provider.allow_private_network, form=form)
        except Refusal as refusal:
            if refusal.inside.startswith("status 4"):
                raise BadToken(NOT_SIGNED_IN, inside=f"{provider.name}: {refusal.inside}") from refusal
            raise _unavailable(provider, refusal) from refusal


def _unavailable(provider: Provider, refusal: Refusal) -> Unavailable:
    inside = f"{provider.name}: {refusal.inside or refusal.message}"
    return Unavailable("The identity provider cannot be reached.", next_step="Try again shortly.", inside=inside)
