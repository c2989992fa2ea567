"""Remit as an OAuth client: who issues tokens for a resource, who we are to them, and one token request.

Order of the MCP authorization specification: what the resource says (RFC 9728), the metadata of the server it names
(RFC 8414), then a client that was registered before, one that is published (CIMD), or one registered now (RFC 7591).
Every address is a stranger's, so all of it goes through `Tools.ask`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from urllib.parse import urlencode

from remit.domain.errors import AddressRefused, BadField, IssuerUnavailable, Refusal
from remit.formats import rfc6749, rfc7523, rfc7591, rfc8414, rfc9728
from remit.formats.jws import SigningKey
from remit.formats.rfc6749 import Client, TokenAnswer
from remit.formats.rfc8414 import BASIC, KEY, NONE, POST, AuthorizationServer
from remit.ports import Answer

from . import Tools

ALGORITHM = "ES256"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
_HELLO = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    b'"clientInfo":{"name":"Remit","version":"1"}}}'
)


@dataclass(frozen=True)
class OauthClient:
    """One resource's. `pinned`, if said, is the only authorization server to be used; `known` who we are there."""

    tools: Tools
    resource: str
    pinned: str
    known: Client | None
    allow_private: bool

    async def discovered(self) -> tuple[AuthorizationServer, str, tuple[str, ...]]:
        """(the authorization server, what tokens are to be for, scopes that the resource asks for)."""
        said, about = await self._protected()
        if self.pinned and self.pinned not in about.authorization_servers:
            named = ", ".join(about.authorization_servers)
            raise unusable("authorization_server", f"{self.resource} does not name {self.pinned}, but {named}")
        scopes = tuple(said.get("scope", "").split()) or about.scopes
        return (
            await self._server(self.pinned or about.authorization_servers[0]),
            about.resource,
            rfc9728.scopes(scopes, "scope"),
        )

    async def _protected(self) -> tuple[Mapping[str, str], rfc9728.ProtectedResource]:
        """Ask without a token; the challenge says where to look, or else the well-known addresses do."""
        answer = await self._ask("POST", self.resource, _HELLO, _JSON)
        if answer.status != 401:
            step = "Take `credential` out of its server's entry, if it wants none."
            raise unusable("resource", f"{self.resource} asks for no token (it answered {answer.status})", step)
        said = rfc9728.challenge(answer.headers.get("www-authenticate", ""))
        pointed = said.get("resource_metadata")
        for url in (pointed,) if pointed else rfc9728.candidates(self.resource):
            found = await self._ask("GET", url)
            if found.status == 200:
                return said, rfc9728.parse(
                    found.body, url=self.resource, metadata_url=url, allow_private=self.allow_private
                )
        raise unusable("resource", f"{self.resource} does not say who issues its tokens (RFC 9728)")

    async def _server(self, issuer: str) -> AuthorizationServer:
        for url in rfc8414.candidates(issuer):
            found = await self._ask("GET", url)
            if found.status == 200:
                return rfc8414.parse(found.body, issuer=issuer, allow_private=self.allow_private)
        raise unusable("authorization_server", f"{issuer} has no metadata (RFC 8414)")

    async def client(self, server: AuthorizationServer, redirect_uri: str, scopes: Sequence[str]) -> Client:
        """Who we are there: said in the catalogue, published, or registered just now."""
        if self.known is not None:
            return self.known
        at = self.tools.issuer_url
        if server.reads_documents and at.startswith("https://"):
            name = "key" if server.takes_our_key(ALGORITHM) else "public"
            return Client(f"{at}{rfc7591.PATH}/{name}", rfc7591.METHODS[name])
        if not server.registration_endpoint:
            step = (
                "Register Remit there and say client_id; or give Remit an https:// --public-url, if it reads documents."
            )
            raise unusable("client_id", f"{server.issuer} lets no unknown client register", step)
        # With a secret, a stolen refresh token is of no use. POST first: servers on the MCP SDK revoke with no other.
        method = next((one for one in (POST, BASIC) if one in server.methods), NONE)
        wanted = rfc7591.registration(redirect_uri, method, scopes)
        answer = await self._ask("POST", server.registration_endpoint, wanted, _JSON)
        if answer.status not in (200, 201):
            raise unusable("registration", f"{server.issuer} answered {answer.status} to our registration")
        return rfc7591.registered(answer.body)

    async def token(
        self, server: AuthorizationServer, client: Client, form: Mapping[str, str], wanted: Sequence[str]
    ) -> TokenAnswer:
        """One token request; `rfc6749.TokenRefused` when the server says no."""
        fields, headers = self._proof(server, client)
        content = urlencode({**form, **fields}).encode()
        answer = await self._ask("POST", server.token_endpoint, content, {**_FORM, **headers})
        return rfc6749.answer(answer.status, answer.body, wanted)

    async def revoke(self, server: AuthorizationServer, client: Client, token: str, hint: str) -> bool:
        """RFC 7009; True when the server confirmed it (a token that it does not know is as good: section 2.2).

        False when it takes back none of this kind (section 2.2.1).
        """
        fields, headers = self._proof(server, client)
        content = urlencode({"token": token, "token_type_hint": hint, **fields}).encode()
        answer = await self._ask("POST", server.revocation_endpoint, content, {**_FORM, **headers})
        if answer.status == 200:
            return True
        if answer.status == 400 and rfc6749.error_of(answer.body) == "unsupported_token_type":
            return False
        raise IssuerUnavailable(
            "The authorization server did not confirm a revocation.",
            next_step="It is asked again.",
            inside=f"{server.revocation_endpoint} answered {answer.status}",
        )

    def _proof(self, server: AuthorizationServer, client: Client) -> tuple[dict[str, str], dict[str, str]]:
        assertion = ""
        if client.method == KEY:
            kid, signer = self.tools.signer.signing("client"), self.tools.signer
            key = SigningKey(kid, ALGORITHM, lambda data: signer.sign("client", data, kid).value)
            assertion = rfc7523.encode(client.id, server.issuer, token_hex(16), self.tools.clock(), key)
        return rfc6749.proof(client, assertion)

    async def _ask(
        self, method: str, url: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        try:
            return await self.tools.ask(method, url, content=content, headers=headers, allow_private=self.allow_private)
        except AddressRefused as refused:
            raise IssuerUnavailable(
                "An address of the authorization server could not be asked.",
                next_step="Is it there, and public? allow_private_network = true lets it be inside.",
                inside=f"{url[:200]}: {refused.inside}",
            ) from refused


def unusable(field: str, problem: str, step: str = "") -> Refusal:
    """What a stranger's metadata says cannot be used; it is told to whoever connects."""
    return BadField(field, problem, next_step=step)
