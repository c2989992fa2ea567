"""How processes on one store tell each other that there may be something to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from enum import Enum
from typing import Protocol

from remit.domain.events import URGENT

LOOK_ANYWAY = 1.0  # seconds; a wake may be lost, so nobody waits for one longer than this


class Wake(Enum):
    """Why somebody may want to look."""

    URGENT = "urgent"  # an event of `domain.events.URGENT` was committed, and has no place in the log yet
    SEQUENCED = "sequenced"  # the log has grown
    NUDGED = "nudged"  # there is something for the reconcilers
    KEYS = "keys"  # a signing key was made, took over, or is no more
    TURN = "turn"  # somebody gave a turn back


class Wakes(Protocol):
    """Wakes every process on the store.

    A wake says nothing but its kind: whoever is woken reads what it needs from the store, where it finds at least what
    was durable before the wake was sent. One wake may stand for many. It may be spurious: there may be nothing new. It
    may be lost: a connection breaks, a process dies between its commit and its wake. So whoever listens also looks
    after `LOOK_ANYWAY`, and nothing is ever true because a wake did not come.
    """

    def woken(self, *by: Wake) -> AbstractContextManager[asyncio.Event]:
        """An event that is set at each such wake while the context lasts. Clear it first, then read: see `looked`."""
        ...

    def wake(self, *kinds: Wake) -> None:
        """Wake whoever listens: in this process at once, in the others within milliseconds. Never waits or fails."""
        ...


def wakes_of(events: Iterable[str]) -> tuple[Wake, ...]:
    """What the store wakes for after it committed these events, by their names."""
    return tuple({wake for event in events for wake in _BY_EVENT.get(event, ())})


_BY_EVENT = {
    **dict.fromkeys(URGENT, (Wake.URGENT,)),
    **dict.fromkeys(("SigningKeyCreated", "SigningKeyPromoted", "SigningKeyRetired"), (Wake.KEYS,)),
    "SigningKeyReplaced": (Wake.URGENT, Wake.KEYS),
}


async def looked(woken: asyncio.Event, seconds: float = LOOK_ANYWAY) -> None:
    """Return when it is time to look: woken, or `seconds` are over. A wake from here on is for the next time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()
    woken.clear()
