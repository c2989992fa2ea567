"""Access tokens of other people's OAuth servers, for one task and one resource: an upstream MCP server, or an API.

Of a grant that a person gave once (`remit issuer connect`), by its refresh token; or in Remit's own name
(`grant = "client_credentials"`), by a key that Remit publishes. The token asks for the scopes its purpose names and no
more, is bound to the resource (RFC 8707), and is kept with the lease, sealed, until its kill (RFC 7009). What the
server cannot take back dies at its own end, within `longest_life`; until then its lease stays in sight.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from secrets import token_urlsafe

import msgspec

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, NotRecallable, Refusal, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted
from remit.formats import rfc6749
from remit.formats.rfc6749 import Attempt, Client, Grant, TokenAnswer
from remit.formats.rfc8414 import BASIC, KEY, POST

from . import Tools
from .federated import known
from .oauth_client import ALGORITHM, OauthClient, unusable
from .oauth_settings import Said

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7a\x7c\x7e]{1,256}\Z")
_SELF_CONTAINED = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+\Z", re.ASCII)
LEEWAY = 6_000  # that a resource server may allow for clocks
_WITHOUT = "Say revoke = false in its entry, and connect again: tokens then die at their own end."
_IN_FLIGHT, _SHORTEST, _REMEMBERED = 12_000, 2, 4096


class OauthIssuer:
    """`grants`: `scope`, a list of the scopes this credential needs. Mints `access_token`."""

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools
        self._name = config.name
        self._said = said = Said.of(config)
        self._client = OauthClient(tools, said.resource, said.server, said.client, said.allow_private)
        self._nothing: OrderedDict[str, None] = OrderedDict()  # handles that were certainly never minted

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        known(grants, "scope")
        scope = grants.get("scope", ())
        if not isinstance(scope, list | tuple) or len(scope) > 50:
            raise BadField("grants.scope", "must be a list of scopes")
        if not all(isinstance(word, str) and _SCOPE.match(word) for word in scope):
            raise BadField("grants.scope", "has what is no scope (RFC 6749 section 3.3)")

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        self.checked(lease.grants)
        wanted = _scopes(lease)
        sent = False

        async def use(grant: Grant) -> tuple[Grant, tuple[Grant, TokenAnswer, int]]:
            nonlocal sent
            now = self._tools.clock()
            if now >= min(lease.mint_until - _IN_FLIGHT, lease.expires_at):
                raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.")
            beyond = set(wanted) - set(grant.scopes)
            if grant.scopes and beyond:
                raise unreachable_scope(self._name, sorted(beyond))
            sent = True
            form = rfc6749.refreshment(grant, wanted) if grant.refresh_token else _in_own_name(grant, wanted)
            found = await self._client.token(grant.server, self._with_secret(grant.client), form, wanted)
            fresh = replace(grant, refresh_token=found.refresh_token or grant.refresh_token)
            return (fresh if grant.refresh_token else grant), (grant, found, now)

        try:
            if self._said.own_name:
                _, (grant, found, asked_at) = await use(await self._own_grant())
            else:
                deadline = lease.mint_until - _IN_FLIGHT
                grant, found, asked_at = await self._tools.renew(self._name, lease.id, deadline, use)
        except rfc6749.TokenRefused as refused:
            if not refused.word.startswith("status"):  # what stands in front of it may not know what it did
                self._remember(lease.handle)
            raise self._refused(refused.word) from refused
        except BadField as flaw:
            said = f"What the authorization server says cannot be used: {flaw.message}."
            raise IssuerUnavailable(said, next_step=flaw.next_step) from flaw
        except BaseException:
            if not sent:
                self._remember(lease.handle)
            raise
        try:
            return self._minted(lease, grant, found, asked_at, wanted)
        except BaseException:
            if await self._revoked(grant, found.access_token):
                self._remember(lease.handle)
            raise

    def _minted(self, lease: Lease, grant: Grant, found: TokenAnswer, asked_at: int, wanted: Sequence[str]) -> Minted:
        wider = set(found.scopes) - set(wanted) - {"offline_access"}
        if wider:
            step = f"Its grant is wider than this purpose: name {' '.join(sorted(wider))} there, or connect with less."
            raise IssuerUnavailable("The token is for more than was asked for.", next_step=step)
        missing = set(wanted) - set(found.scopes)
        if missing:
            raise unreachable_scope(self._name, sorted(missing))
        if not _SHORTEST <= found.expires_in <= self._said.longest_life:
            raise IssuerUnavailable(
                f"Its tokens last {found.expires_in or 'nobody knows how many'} seconds.",
                next_step=f"At most {self._said.longest_life} s: have it issue shorter ones, or raise longest_life.",
            )
        ends_at = asked_at + found.expires_in * 1000
        where = replace(grant, refresh_token="", scopes=(), server=replace(grant.server, scopes=()))
        reference = msgspec.json.encode((where, found.access_token, ends_at + LEEWAY))
        sealed = self._tools.sealer.seal(reference, _context(lease))
        return Minted({"access_token": found.access_token}, reference=sealed, ends_at=ends_at)

    async def kill(self, lease: Lease) -> None:
        """See `ports.Issuer`. A self-contained token is not believed dead: whoever reads it need not ask its issuer."""
        if lease.handle in self._nothing:
            return
        now = self._tools.clock()
        if not lease.reference:
            over = lease.mint_until + self._said.longest_life * 1000
            if now < over:
                raise NotRecallable("It may have been minted, and nobody here has it.", until=over)
            return
        opened = self._tools.sealer.unseal(lease.reference, _context(lease))
        grant, token, over = msgspec.json.decode(opened, type=tuple[Grant, str, int])
        if now >= over:
            return
        if not await self._revoked(grant, token):
            raise NotRecallable("Its server takes no token back.", until=over)
        if _SELF_CONTAINED.match(token):
            raise NotRecallable("It was revoked, and whoever checks it alone takes it until its end.", until=over)

    # --- ports.Connector ---

    async def invite(self, redirect_uri: str, scopes: Sequence[str]) -> Attempt:
        """See `ports.Connector`."""
        server, resource, offered = await self._client.discovered()
        rfc6749.endpoint_of(server, allow_private=self._client.allow_private)
        wanted = tuple(scopes)
        if "offline_access" in server.scopes and "offline_access" not in wanted:
            wanted = (*wanted, "offline_access")
        client = await self._client.client(server, redirect_uri, wanted)
        state, verifier = token_urlsafe(32), token_urlsafe(48)
        return Attempt(server, client, resource, redirect_uri, wanted, offered, state, verifier)

    async def redeem(self, attempt: Attempt, code: str) -> Grant:
        """See `ports.Connector`. The access token that comes with it is nobody's: it is revoked, or dies by itself."""
        client = self._with_secret(attempt.client)
        try:
            found = await self._client.token(attempt.server, client, rfc6749.redemption(attempt, code), attempt.scopes)
        except rfc6749.TokenRefused as refused:
            raise IssuerUnavailable(
                f"The authorization server did not take the code: {refused.word}.", next_step="Begin again."
            ) from refused
        grant = Grant(attempt.server, attempt.client, attempt.resource, found.scopes, found.refresh_token)
        if not found.refresh_token:
            raise unusable("refresh_token", f"{attempt.server.issuer} gave none, so nothing could be minted later")
        try:
            return await self._tried(grant, found.access_token)
        except IssuerUnavailable as failure:
            with suppress(Refusal):
                await self.withdraw(grant)
            said = f"{grant.server.issuer} did not take back a token when it was tried"
            raise BadField("revoke", said, next_step=_WITHOUT, inside=failure.inside) from failure

    async def _tried(self, grant: Grant, token: str) -> Grant:
        """Whether the grant outlives one token of it: some servers take all back with one (RFC 7009 section 2.1)."""
        if not await self._revoked(grant, token):
            return grant
        try:
            form = rfc6749.refreshment(grant, ())
            found = await self._client.token(grant.server, self._with_secret(grant.client), form, grant.scopes)
        except rfc6749.TokenRefused as gone:
            if gone.word != "invalid_grant":
                raise unusable("refresh_token", f"{grant.server.issuer} does not refresh: {gone.word}") from gone
            said = f"{grant.server.issuer} takes the whole grant back with one token of it"
            raise BadField("revoke", said, next_step=_WITHOUT) from gone
        fresh = replace(grant, refresh_token=found.refresh_token or grant.refresh_token)
        await self._revoked(fresh, found.access_token)
        return fresh

    async def withdraw(self, grant: Grant) -> bool:
        """See `ports.Connector`."""
        if not grant.server.revocation_endpoint:
            return False
        client = self._with_secret(grant.client)
        return await self._client.revoke(grant.server, client, grant.refresh_token, "refresh_token")

    # --- inside ---

    async def _own_grant(self) -> Grant:
        server, resource, _ = await self._client.discovered()
        client = self._client.known
        if client is None or (client.method == KEY and not server.takes_our_key(ALGORITHM)):
            raise unusable("client_auth", f"{server.issuer} takes no {KEY} with {ALGORITHM}")
        return Grant(server, client, resource, (), "")

    async def _revoked(self, grant: Grant, token: str) -> bool:
        """False when nobody can take it back."""
        if not self._said.revoke or not grant.server.revocation_endpoint:
            return False
        return await self._client.revoke(grant.server, self._with_secret(grant.client), token, "access_token")

    def _with_secret(self, client: Client) -> Client:
        """A secret of the catalogue's is read when it is used, so that it can be replaced."""
        if client != self._client.known or client.method not in (BASIC, POST):
            return client
        return replace(client, secret=self._said.secret(self._tools.environ))

    def _refused(self, word: str) -> IssuerUnavailable:
        step = "Ask whoever runs it."
        if word == "invalid_grant":
            step = f"Somebody took the grant back; connect again: remit issuer connect {self._name}"
        if word == "invalid_scope":
            step = f"The grant is narrower than the purpose: remit issuer disconnect {self._name}, and connect again."
        return IssuerUnavailable(f"The authorization server refused: {word}.", next_step=step)

    def _remember(self, handle: str) -> None:
        self._nothing[handle] = None
        if len(self._nothing) > _REMEMBERED:
            self._nothing.popitem(last=False)


def _in_own_name(grant: Grant, wanted: Sequence[str]) -> dict[str, str]:
    scope = {"scope": " ".join(wanted)} if wanted else {}
    return {"grant_type": "client_credentials", "resource": grant.resource, **scope}


def unreachable_scope(name: str, scopes: Sequence[str]) -> IssuerUnavailable:
    """The purpose names what the grant does not have; nobody widens it but a person."""
    step = f"remit issuer disconnect {name}, then remit issuer connect {name}: it asks for what purposes name now."
    return IssuerUnavailable(f"The connection of {name} lacks {' '.join(scopes)}.", next_step=step)


def _scopes(lease: Lease) -> tuple[str, ...]:
    scope = lease.grants.get("scope", ())
    return tuple(str(word) for word in scope) if isinstance(scope, list | tuple) else ()


def _context(lease: Lease) -> bytes:
    return b"lease:" + lease.id.encode()
