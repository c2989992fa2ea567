"""The streams in which other systems are told what has ended here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamMade:
    """A receiver is told of such events from now on."""

    stream: str
    receiver: str
    delivery: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamChanged:
    """A receiver changed what it is told, or how."""

    stream: str
    receiver: str
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamTurned:
    """It is enabled, paused, disabled or deleted."""

    stream: str
    receiver: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class StreamVerificationAsked:
    """A receiver wants to see something arrive, with this `state`."""

    stream: str
    receiver: str
    state: str


@dataclass(frozen=True, slots=True)
class SignalsDelivered:
    """So many events were acknowledged; everything of the log below `position` is done with."""

    stream: str
    receiver: str
    count: int
    position: int


@dataclass(frozen=True, slots=True)
class SignalReturned:
    """A receiver said that it cannot use an event; it is not sent again."""

    stream: str
    receiver: str
    place: int
    error: str


@dataclass(frozen=True, slots=True)
class StreamFailing:
    """A push was not acknowledged, and is made again."""

    stream: str
    receiver: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class StreamHeard:
    """A receiver polled, or managed its stream; said at most once an hour."""

    stream: str
    receiver: str
