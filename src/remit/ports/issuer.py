"""Systems that mint and kill credentials, and what connects some of them to somebody else's server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted
from remit.formats import rfc6749

T = TypeVar("T")


class Issuer(Protocol):
    """A system that mints and kills credentials. Both raise `IssuerUnavailable` when it did not answer."""

    async def mint(self, lease: Lease) -> Minted:
        """Make the credential named `lease.handle`, no wider than `lease.grants`, dead by `expires_at`.

        It must not come to life after `lease.mint_until`, however long the request was on its way: from then on a
        confirmed kill ends the lease, and nobody would look again (law 5).
        """
        ...

    async def kill(self, lease: Lease) -> None:
        """Return only when `lease.handle` can no longer be used. Killing what never was, or twice, is fine.

        What nobody can take back raises `NotRecallable` with the time at which it has died by itself; until then its
        lease stays ENDING, in sight.
        """
        ...

    def checked(self, grants: Mapping[str, Json]) -> None:
        """Raise `BadField` if a purpose's description of a credential is not one this issuer can mint."""
        ...


@runtime_checkable
class Lists(Protocol):
    """An issuer whose system can say what it has minted: how credentials without a lease are found (law 5)."""

    async def listed(self) -> Sequence[str]:
        """What is there now that Remit named, and its own account there may kill; or `IssuerUnavailable`."""
        ...

    def name(self, lease: Lease) -> str:
        """What this lease's credential is called there."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Ask(Protocol):
    """One guarded request to an address that an attacker may have chosen, in bounded time and memory."""

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        allow_private: bool = False,
    ) -> Answer:
        """Whatever was answered, redirects too, which nobody follows; or `AddressRefused`."""
        ...


@runtime_checkable
class Connector(Protocol):
    """An issuer that mints of a grant which a person gives it, once, at an authorization server."""

    async def invite(self, redirect_uri: str, scopes: Sequence[str]) -> rfc6749.Attempt:
        """Find the authorization server and say who we are to it; nothing is granted yet."""
        ...

    async def redeem(self, attempt: rfc6749.Attempt, code: str) -> rfc6749.Grant:
        """The grant for a code, which this uses up."""
        ...

    async def withdraw(self, grant: rfc6749.Grant) -> bool:
        """True when the server confirmed that the grant is gone; False when it cannot be told (no RFC 7009)."""
        ...


class Renew(Protocol):
    """Lends a grant to one mint at a time, and keeps what became of it before anything else may happen."""

    async def __call__(
        self, issuer: str, lease: str, until: int, use: Callable[[rfc6749.Grant], Awaitable[tuple[rfc6749.Grant, T]]]
    ) -> T:
        """`use` raises `rfc6749.TokenRefused("invalid_grant")` when the server knows the grant no more."""
        ...
