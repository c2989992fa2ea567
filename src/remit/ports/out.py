"""Where the log goes: how far each who follows it has come, and what takes it there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from remit.domain.out import Mark


class Marks(Protocol):
    """Durable, and shared by every process on the store."""

    async def marks(self) -> Mapping[str, Mark]:
        """All of them, by name."""
        ...

    async def mark(self, after: Mark) -> Mark:
        """Write it over the one of its version (0: there is none); returns it as it is now, or raises `Conflict`."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of the log from place `first` on, one a place; `leaves` are the events that they are made of.

    `holder` only ever grows: whoever has seen a greater one can tell a sender that was overtaken.
    """

    log: str
    first: int
    holder: int
    leaves: Sequence[bytes] = field(repr=False)
    records: Sequence[bytes] = field(repr=False)


class NotTaken(Exception):
    """A sink did not acknowledge a batch. `wait` is the ms it asked for; `large`: it said that this was too much.

    The words are shown to operators, and are never the sink's own nor anything of an address or a credential.
    """

    def __init__(self, why: str, *, wait: int = 0, large: bool = False) -> None:
        super().__init__(why)
        self.wait, self.large = wait, large


class Sender(Protocol):
    """One way to one sink."""

    async def send(self, batch: Batch) -> None:
        """Return once it was acknowledged, in bounded time; or raise `NotTaken`: it may have been taken, or in part."""
        ...
