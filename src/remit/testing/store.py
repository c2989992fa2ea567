"""A store that fails on command: before the write, or after it ("failed but persisted")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from remit.domain.change import Change, R
from remit.domain.errors import StoreUnavailable
from remit.ports import Store


class FaultyStore:
    """Wraps any store; `faults` is consumed one entry a commit: `lost`, `persisted`, or `` (no fault)."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.faults: list[str] = []

    async def get(self, kind: type[R], key: str) -> R | None:
        """See `ports.Reader`."""
        return await self.inner.get(kind, key)

    async def find(self, kind: type[R], where: Mapping[str, str], *, after: str = "", limit: int = 100) -> Sequence[R]:
        """See `ports.Reader`."""
        return await self.inner.find(kind, where, after=after, limit=limit)

    async def tally(self, kind: type[R], where: Mapping[str, str], by: str, *, limit: int = 1000) -> Mapping[str, int]:
        """See `ports.Reader`."""
        return await self.inner.tally(kind, where, by, limit=limit)

    async def due(self, kind: type[R], now: int, *, limit: int = 100) -> Sequence[R]:
        """See `ports.Reader`."""
        return await self.inner.due(kind, now, limit=limit)

    async def commit(self, change: Change) -> int:
        """See `ports.Store`."""
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "lost":
            raise StoreUnavailable("The store failed.", inside="nothing was written")
        number = await self.inner.commit(change)
        if fault == "persisted":
            raise StoreUnavailable("The store failed.", inside="but it was written")
        return number

    async def spend(self, token: str, until: int) -> bool:
        """See `ports.Store`."""
        return await self.inner.spend(token, until)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
