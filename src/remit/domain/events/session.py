"""What is said of people's sessions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignInLinkMade:
    """A one-time link was made that begins a session for this person, in these roles."""

    name: str
    roles: tuple[str, ...]
    digest: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class SessionBegan:
    """Somebody signed in, by a link or by an identity provider."""

    session: str
    name: str
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    way: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class SessionKept:
    """The session is in use; said at most once in five minutes."""

    session: str
    name: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """Somebody signed out, or was signed out."""

    session: str
    name: str
    reason: str
