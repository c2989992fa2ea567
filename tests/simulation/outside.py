"""Systems that mint and kill credentials: each knows by itself what is alive, and is not always in a mood to say so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from remit.domain.errors import IssuerUnavailable
from remit.domain.lease import Lease, Minted

from .loop import Node
from .network import Network, NoAnswer

MARGIN = 5_000  # ms; as our issuers keep it, for clocks that differ


@dataclass
class Outside:
    """One such system. `slow` is the longest it takes (seconds), before and after the effect."""

    node: Node
    rng: Random
    slow: float = 0.05
    slow_one_in: int = 0
    mute_one_in: int = 0
    down: bool = False
    live: set[str] = field(default_factory=set)
    minted: Callable[[str], None] = lambda handle: None
    say: Callable[[str], None] = lambda line: None

    async def mint(self, lease: Lease) -> None:
        """Alive from here on, unless it is too late by this system's own clock."""
        await self._takes()
        if self.node.clock() >= lease.mint_until - MARGIN:
            raise IssuerUnavailable("The mint came too late.")
        self.live.add(lease.handle)
        self.say(f"pg: {lease.handle[-6:]} lives")
        self.minted(lease.handle)
        await self._takes()

    async def kill(self, lease: Lease) -> None:
        """Dead when this returns."""
        await self._takes()
        self.live.discard(lease.handle)
        self.say(f"pg: {lease.handle[-6:]} is dead")
        await self._takes()

    async def _takes(self) -> None:
        rng, seconds = self.rng, self.rng.random() * self.slow
        if self.slow_one_in and not rng.randrange(self.slow_one_in):  # anything, or just about a mint window
            seconds = rng.choice((rng.random() * 40, 25.5 + rng.random() * 5))
        await asyncio.sleep(seconds)
        if self.down or (self.mute_one_in and not self.rng.randrange(self.mute_one_in)):
            raise IssuerUnavailable("It failed, before or after.")


class Adapter:
    """`ports.Issuer` of one replica, over the network."""

    def __init__(self, outside: Outside, node: Node, network: Network) -> None:
        self._outside, self._node, self._network = outside, node, network

    def checked(self, grants: Mapping[str, Any]) -> None:
        """Anything goes."""

    async def mint(self, lease: Lease) -> Minted:
        await self._asked("mint", lease, self._outside.mint)
        return Minted({"user": lease.handle, "password": f"canary-{lease.handle}"})

    async def kill(self, lease: Lease) -> None:
        await self._asked("kill", lease, self._outside.kill)

    async def _asked(self, what: str, lease: Lease, do: Callable[[Lease], Any]) -> None:
        try:
            await self._network.call(
                self._node, self._outside.node, f"{what} {lease.handle[-6:]}", lambda: do(lease), 60.0, reliable=True
            )
        except NoAnswer as lost:
            raise IssuerUnavailable("The issuer did not answer.", inside=str(lost)) from lost
