"""Who others say somebody is, and how people are told and asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from remit.domain.errors import Unavailable
from remit.domain.flow import Json
from remit.domain.identity import Attestation, Attester, Federation, TrustDomain
from remit.domain.session import Provider
from remit.domain.signal import SecurityEvent, Transmitter
from remit.formats import ciba
from remit.formats.aws_caller import Checked
from remit.formats.client_attestation import VerifiedAttestation
from remit.formats.client_id_metadata import ClientDocument
from remit.formats.spiffe import TrustBundle

from .issuer import Answer


class Attestor(Protocol):
    """Turns foreign evidence into verified claims."""

    async def claims(self, federation: Federation, token: str, now: int) -> Mapping[str, Json]:
        """Verified claims of an OIDC token, or `BadToken`; `Unavailable` when its keys cannot be had."""
        ...

    async def attestation(self, attester: Attester, token: str, audience: str, now: int) -> VerifiedAttestation:
        """A client attestation of this attester, or `BadToken`; `Unavailable` when its keys cannot be had."""
        ...

    async def client(self, rule: Attestation) -> ClientDocument:
        """The document of the client that this rule names, as it is now; `AddressRefused` or `BadField`."""
        ...

    async def caller(self, request: Checked) -> Mapping[str, Json]:
        """Who AWS STS says signed this, by the names in `aws_caller.CLAIMS`; `BadToken`, `Unavailable` or `Busy`."""
        ...

    async def bundle(self, domain: TrustDomain, now: int, *, kid: str = "") -> TrustBundle:
        """The newest bundle of a foreign trust domain, one with this `kid` if that can be had; or `Unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Authorization:
    """One sign-in at an identity provider, in the browser that began it: kept sealed there, good once."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


class IdentityProviders(Protocol):
    """Where people prove who they are (OpenID Connect Core 1.0 section 3.1)."""

    async def address(self, provider: Provider, asked: Authorization, now: int) -> str:
        """Where the browser goes to; `Unavailable` when the provider's metadata cannot be had."""
        ...

    async def claims(
        self, provider: Provider, asked: Authorization, code: str, iss: str, now: int
    ) -> Mapping[str, Json]:
        """Verified claims of the ID token that this code stands for, or `BadToken`; `iss` as the browser brought it."""
        ...


class Backchannel(Protocol):
    """Where people answer in their identity provider's own app (CIBA Core 1.0, poll mode).

    Both raise `Unavailable` when nothing can be told, and `rfc6749.TokenRefused` when there will be no answer.
    """

    async def ask(self, provider: Provider, wanted: ciba.Wanted, now: int) -> ciba.Taken:
        """Have the provider ask this person."""
        ...

    async def poll(self, provider: Provider, auth_req_id: str, since: int, now: int) -> ciba.Outcome | ciba.Said:
        """What came of it; `BadToken` for an ID token that does not verify or is not of this request since then."""
        ...


class Signals(Protocol):
    """Shared Signals over the network: what transmitters say, and what is said to receivers."""

    async def heard(self, by: Transmitter, text: str, now: int) -> SecurityEvent:
        """The event this text is, if it is this transmitter's and for us; `BadSignal`, or `Unavailable` keys."""
        ...

    async def post(self, url: str, media: str, content: bytes, authorization: str, *, allow_private: bool) -> Answer:
        """One guarded request; whatever was answered, or `AddressRefused`."""
        ...


class NoSignals:
    """What there is where nobody is heard."""

    async def heard(self, by: Transmitter, text: str, now: int) -> SecurityEvent:
        """See `Signals`."""
        raise Unavailable("Nobody is heard here.")

    async def post(self, url: str, media: str, content: bytes, authorization: str, *, allow_private: bool) -> Answer:
        """See `Signals`."""
        raise Unavailable("Nobody is heard here.")


class NoBackchannel:
    """What there is where no provider can be asked."""

    async def ask(self, provider: Provider, wanted: ciba.Wanted, now: int) -> ciba.Taken:
        """See `Backchannel`."""
        raise Unavailable("No identity provider can be asked from here.")

    async def poll(self, provider: Provider, auth_req_id: str, since: int, now: int) -> ciba.Outcome | ciba.Said:
        """See `Backchannel`."""
        raise Unavailable("No identity provider can be asked from here.")


class Notifier(Protocol):
    """Sends messages to people, who have to come here to do anything about them."""

    async def send(self, address: str, title: str, body: str) -> None:
        """Return when it was taken, within a bounded time; `Unavailable` when it was not. Words are text, no markup."""
        ...


class NoNotifier:
    """What there is where nothing can send."""

    async def send(self, address: str, title: str, body: str) -> None:
        """See `Notifier`."""
        raise Unavailable("Nothing here can send messages.", next_step="pip install 'remit[notify]'")
