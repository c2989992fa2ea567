"""Static secrets, hand-overs and the envelopes they are under."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SecretSealed:
    """A version of a static secret was put under an envelope; `restores` is the one it has the value of, or 0."""

    name: str
    number: int
    restores: int


@dataclass(frozen=True, slots=True)
class SecretOverdue:
    """Nobody put a newer version of this secret in the time that was set for it."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class SecretRetiring:
    """This version is minted no more, and every lease that holds it is to end."""

    name: str
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class SecretRetired:
    """No lease holds this version any more; its envelope was destroyed."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class EnvelopeRewrapped:
    """The envelope in this row is under the new root key; its contents were not opened."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class HandOverSent:
    """Somebody left something secret for one person, to be opened once."""

    hand_over: str
    sender: str
    recipient: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class HandOverOpened:
    """Its recipient opened it. The envelope was destroyed with this event, before the answer left."""

    hand_over: str
    sender: str
    recipient: str


@dataclass(frozen=True, slots=True)
class HandOverEnded:
    """It can be opened no more, and nobody did: withdrawn by its sender, or expired. The envelope was destroyed."""

    hand_over: str
    sender: str
    recipient: str
    how: str
