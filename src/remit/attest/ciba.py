"""Asking people in their identity provider's own app, as far as it needs the network (CIBA Core 1.0, poll mode)."""

from __future__ import annotations

from hashlib import sha256

from remit.domain.errors import AddressRefused, Unavailable
from remit.domain.session import Provider
from remit.formats import ciba
from remit.ports import Answer, Ask

from .fetch import ask, posted
from .relying_party import RelyingParty, unreachable


class Backchannel:
    """Implements `ports.Backchannel`."""

    def __init__(self, party: RelyingParty, send: Ask = ask) -> None:
        self._party = party
        self._ask = send

    async def ask(self, provider: Provider, wanted: ciba.Wanted, now: int) -> ciba.Taken:
        """See `ports.Backchannel`."""
        if not ciba.polled(await self._party.metadata(provider, now)):
            raise Unavailable("The identity provider asks nobody in its app.", inside=f"{provider.name}: no poll mode")
        fields = ciba.request(wanted, provider.scopes)
        answer = await self._send(provider, "backchannel_authentication_endpoint", fields, now)
        found = ciba.taken(answer.status, answer.body)
        if found is None:
            raise _nothing(provider, answer)
        return found

    async def poll(self, provider: Provider, auth_req_id: str, since: int, now: int) -> ciba.Outcome | ciba.Said:
        """See `ports.Backchannel`."""
        answer = await self._send(provider, "token_endpoint", ciba.token_request(auth_req_id), now)
        found = ciba.token(answer.status, answer.body)
        if found is None:
            raise _nothing(provider, answer)
        if found is ciba.Outcome.DENIED:
            return ciba.Said(False)
        if isinstance(found, ciba.Outcome):
            return found
        claims = await self._party.claims(provider, found, now)
        ciba.check(claims, client_id=provider.client_id, auth_req_id=auth_req_id, since=since)
        return ciba.Said(True, claims, sha256(found.encode()).hexdigest())

    async def _send(self, provider: Provider, endpoint: str, fields: dict[str, str], now: int) -> Answer:
        address = await self._party.endpoint(provider, endpoint, now)
        method, content, headers = posted(await self._party.proved(provider, fields, now))
        private = provider.allow_private_network
        try:
            return await self._ask(method, address, content=content, headers=headers, allow_private=private)
        except AddressRefused as refused:
            raise unreachable(provider, refused) from refused


def _nothing(provider: Provider, answer: Answer) -> Unavailable:
    return unreachable(provider, AddressRefused("It said nothing of use.", inside=f"status {answer.status}"))
