"""An issuer in memory with faults before and after each effect, and gates to hold a mint or a kill in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from remit.domain.errors import IssuerUnavailable, NotRecallable
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted


@dataclass
class FakeIssuer:
    """`live` are the handles that exist. Each named fault happens once: `mint-before`, `mint-after`, `kill-before`, …

    "Before" fails with nothing done; "after" fails although it was done, which is the nasty one. While a gate is
    closed its call waits, just before the effect; `minting` and `killing` say that one has begun. Without `recalls`
    what was minted lives until its end, whatever anybody does.
    """

    clock: Callable[[], int] = field(default=lambda: 0)
    live: set[str] = field(default_factory=set)
    ever: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    down: bool = False
    recalls: bool = True
    reference: str = ""
    mint_gate: asyncio.Event | None = None
    minting: asyncio.Event = field(default_factory=asyncio.Event)
    kill_gate: asyncio.Event | None = None
    killing: asyncio.Event = field(default_factory=asyncio.Event)
    mints: int = 0
    kills: int = 0

    def checked(self, grants: Mapping[str, Json]) -> None:
        """Anything goes."""

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        self._fault("mint-before")
        self.minting.set()
        if self.mint_gate is not None:
            await self.mint_gate.wait()
        if self.clock() >= lease.mint_until:
            raise IssuerUnavailable("The mint came too late.", inside="the mint window has closed")
        self.mints += 1
        self.live.add(lease.handle)
        self.ever.add(lease.handle)
        self._fault("mint-after")
        return Minted({"user": lease.handle, "password": f"canary-{lease.handle}"}, self.reference)

    async def kill(self, lease: Lease) -> None:
        """See `ports.Issuer`."""
        self._fault("kill-before")
        self.killing.set()
        if self.kill_gate is not None:
            await self.kill_gate.wait()
        if not self.recalls and self.clock() < lease.expires_at:
            raise NotRecallable("Nobody can take this back.", until=lease.expires_at)
        self.kills += 1
        self.live.discard(lease.handle)
        self._fault("kill-after")

    async def listed(self) -> Sequence[str]:
        """See `ports.Lists`."""
        self._fault("list-before")
        return sorted(self.live)

    def name(self, lease: Lease) -> str:
        """See `ports.Lists`."""
        return lease.handle

    def _fault(self, name: str) -> None:
        if self.down or name in self.faults:
            if not self.down:
                self.faults.remove(name)
            raise IssuerUnavailable("The issuer did not answer.", inside=name)
