"""What people let Remit into at other authorization servers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionBegun:
    """An operator was sent to an authorization server, to let Remit into somebody's account there."""

    issuer: str
    authorization_server: str
    client: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionAnswered:
    """The answer to this attempt came back; it is good for nothing more, whatever the exchange of its code gives."""

    issuer: str


@dataclass(frozen=True, slots=True)
class ConnectionMade:
    """The grant is kept, sealed: from now on tasks are given tokens of it."""

    issuer: str
    authorization_server: str
    client: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GrantTaken:
    """The grant is being used to mint for this lease, and for nobody else meanwhile."""

    issuer: str
    lease: str


@dataclass(frozen=True, slots=True)
class GrantReturned:
    """It may be used again. `rotated`: the authorization server replaced the refresh token."""

    issuer: str
    lease: str
    rotated: bool


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The authorization server knows the grant no more; a person has to connect again."""

    issuer: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionEnding:
    """Nothing is minted of this grant after this; its leases and then the grant itself are to end."""

    issuer: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionEndFailed:
    """The authorization server did not confirm that the grant is gone; it will be asked again."""

    issuer: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The grant was destroyed here. `revoked`: the authorization server confirmed that it is good for nothing there."""

    issuer: str
    revoked: bool
