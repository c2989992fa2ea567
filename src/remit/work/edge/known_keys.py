"""Whose bearer keys are good here: those of enforcement points beside this edge, as the centre said once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from remit.domain import events
from remit.domain.caller import AccessKey, Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Conflict
from remit.ports import Env
from remit.ports.estate import Centre

STRANGE_FOR = 10_000  # ms
_AT_ONCE, _MOST = 4, 10_000


class KnownKeys:
    """What was learned is kept until it expires. A key that nobody has is not asked about again for a while."""

    def __init__(self, env: Env, centre: Centre, clock: Callable[[], int]) -> None:
        self._env = env
        self._centre = centre
        self._clock = clock
        self._strangers: dict[str, int] = {}
        self._asking = asyncio.Semaphore(_AT_ONCE)

    async def find(self, digest: str, now: int) -> AccessKey | None:
        """The row of this key, from here or from the centre; `Unavailable` when that would have to be asked."""
        row = await self._env.store.get(AccessKey, digest)
        if row is not None or self._clock() < self._strangers.get(digest, 0):
            return row
        async with self._asking:
            found = await self._centre.access_key(digest)
        if found is None:
            if len(self._strangers) >= _MOST:
                self._strangers.clear()
            self._strangers[digest] = self._clock() + STRANGE_FOR
            return None
        call = Call(Caller(CallerKind.SYSTEM, "edge"), now)
        because = events.AccessKeyLearned(found.kind.value, found.name, digest, found.expires_at)
        with suppress(Conflict):  # another request learned it meanwhile
            await self._env.store.commit(Change(because, call).put(found, was=None))
        return await self._env.store.get(AccessKey, digest)
