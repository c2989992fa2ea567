"""Who answers for agents and purposes, when their owners do not; and what directories say of people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SuccessionBegan:
    """Nobody answers for it: `missing` is `left` or `unconfirmed`, of `owner`. `to` is asked; at `until` it stops."""

    reach: str
    name: str
    owner: str
    missing: str
    to: str
    until: int


@dataclass(frozen=True, slots=True)
class SuccessionEscalated:
    """Nobody had taken over, so `to` is asked too."""

    reach: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class SuccessionTaken:
    """`person` answers for it from here on, and was shown what has this digest."""

    reach: str
    name: str
    owner: str
    person: str
    digest: str


@dataclass(frozen=True, slots=True)
class SuccessionStopped:
    """Nobody took over in time, and what answers to nobody is frozen: `frozen` is the freeze that stops it."""

    reach: str
    name: str
    owner: str
    frozen: str


@dataclass(frozen=True, slots=True)
class SuccessionOver:
    """Nobody is missing any more."""

    reach: str
    name: str
    owner: str


@dataclass(frozen=True, slots=True)
class DirectorySaid:
    """A directory says that an account is active, inactive or deleted; `person` is who that is here, if anybody."""

    directory: str
    user: str
    person: str
    said: str
