"""Shared Signals over the network: what transmitters say of themselves and give when asked, what receivers are sent."""

from __future__ import annotations

from collections.abc import Mapping

from remit.domain.errors import BadToken
from remit.domain.flow import Json
from remit.domain.identity import Federation
from remit.domain.signal import SecurityEvent, Transmitter
from remit.formats import json_input, oauth_url, rfc8417
from remit.ports import Answer, Ask

from .fetch import ask
from .oidc import OidcAttestor


class _Keys(OidcAttestor):
    """Keys of transmitters, which say where they are in a document of their own (Shared Signals 1.0, section 7.1)."""

    async def metadata(self, issuer: str, allow_private: bool) -> Mapping[str, Json]:
        """See `OidcAttestor`."""
        url = oauth_url.inserted(issuer, "ssf-configuration")
        body = await self._get(url, allow_private=allow_private)
        document = json_input.parse(body, limit=len(body))
        if not isinstance(document, Mapping) or document.get("issuer") != issuer:
            raise BadToken("The token is not valid.", inside=f"{url} names another issuer")
        return document


class SignalsOverHttp:
    """Implements `ports.Signals`."""

    def __init__(self, send: Ask = ask) -> None:
        self._keys = _Keys()
        self._send = send

    async def heard(self, by: Transmitter, text: str, now: int) -> SecurityEvent:
        """See `ports.Signals`."""
        of = Federation(
            f"signals.{by.name}", by.issuer, by.audience, by.jwks_uri, allow_private_network=by.allow_private_network
        )
        keys = await self._keys.keys(of, rfc8417.claimed_key(text), now)
        return rfc8417.parse(text, issuer=by.issuer, audience=by.audience, keys=keys, now=now)

    async def post(self, url: str, media: str, content: bytes, authorization: str, *, allow_private: bool) -> Answer:
        """See `ports.Signals`."""
        headers = {"Content-Type": media, **({"Authorization": authorization} if authorization else {})}
        return await self._send("POST", url, content=content, headers=headers, allow_private=allow_private)
