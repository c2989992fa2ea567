"""What other systems said of people, and what was said to them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignalHeeded:
    """A transmitter said something, and what that ends has ended: so many tasks and sessions."""

    transmitter: str
    jti: str
    signal: str
    person: str
    effects: tuple[str, ...]
    tasks: int
    sessions: int


@dataclass(frozen=True, slots=True)
class SignalRefused:
    """A transmitter gave something, when it was asked, that is no event of its own for us."""

    transmitter: str
    jti: str
    why: str
