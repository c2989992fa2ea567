"""What every exchange with people's identity providers needs: metadata, proof of who we are, verified tokens.

Metadata are kept ten minutes; tokens are verified like any other issuer's, and everything is fetched through the guard.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from remit.domain.errors import Refusal, Unavailable
from remit.domain.flow import Json
from remit.domain.identity import Federation
from remit.domain.session import Provider

from .fetch import Form, fetch
from .oidc import FRESH_MS, Fetch, OidcAttestor

SECRET_LIMIT = 4096


class RelyingParty:
    """Us, at every provider of the catalogue. `environ` is where client secrets may be."""

    def __init__(self, environ: Mapping[str, str], get: Fetch = fetch) -> None:
        self._environ = environ
        self._oidc = OidcAttestor(get)
        self._known: dict[str, tuple[int, Mapping[str, Json]]] = {}

    async def claims(self, provider: Provider, token: str, now: int) -> Mapping[str, Json]:
        """Verified claims of an ID token that was issued to us alone, or `BadToken`."""
        federation = Federation(
            f"sign_in.{provider.name}",
            provider.issuer,
            provider.client_id,
            allow_private_network=provider.allow_private_network,
        )
        return await self._oidc.claims(federation, token, now)

    async def proved(self, provider: Provider, fields: Mapping[str, str], now: int) -> Form:
        """These fields with what proves the client, in the way that the provider takes (Core section 9)."""
        document = await self.metadata(provider, now)
        secret = self._secret(provider)
        ways = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if secret and isinstance(ways, list) and "client_secret_basic" in ways:
            return Form(fields, (provider.client_id, secret))
        return Form({**fields, "client_id": provider.client_id, **({"client_secret": secret} if secret else {})})

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

    async def endpoint(self, provider: Provider, name: str, now: int) -> str:
        found = (await self.metadata(provider, now)).get(name)
        """An address from the metadata; `Unavailable` unless it is one that a request or a browser may be sent to."""
        schemes = ("https://", "http://") if provider.allow_private_network else ("https://",)
        # A browser may be sent there: no other scheme, and nothing that changes what is added to it.
        if not isinstance(found, str) or not found.startswith(schemes) or not found.isascii() or "#" in found:
            raise Unavailable("Signing in is not possible now.", inside=f"{provider.name} names no {name} of use")
        if len(found) > 2048 or any(c <= " " for c in found):
            raise Unavailable("Signing in is not possible now.", inside=f"{provider.name} names no {name} of use")
        return found

    async def metadata(self, provider: Provider, now: int) -> Mapping[str, Json]:
        """What the provider says of itself."""
        at, document = self._known.get(provider.way, (0, {}))
        if not document or now - at > FRESH_MS:
            try:
                document = await self._oidc.metadata(provider.issuer, provider.allow_private_network)
            except Refusal as refusal:
                raise unreachable(provider, refusal) from refusal
            self._known[provider.way] = (now, document)
        return document


def unreachable(provider: Provider, refusal: Refusal) -> Unavailable:
    """It did not answer, or what it answered is of no use."""
    inside = f"{provider.name}: {refusal.inside or refusal.message}"
    return Unavailable("The identity provider cannot be reached.", next_step="Try again shortly.", inside=inside)
