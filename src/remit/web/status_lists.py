"""Status lists as they are now, made of what is behind each token: no bit is kept anywhere.

A list is read anew for whoever asks, after they asked. Many who ask share one reading, and readings take turns and
leave nine tenths of the time to others: a list may come late, and never from the past.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from remit.domain.errors import Absent
from remit.domain.keys import KeyState, SigningKey
from remit.domain.lease import Lease, LeaseState
from remit.domain.status import KEPT, SIZE, WINDOW, StatusEntry
from remit.formats import token_status_list as tsl
from remit.ports import Env
from remit.verbs.transact import alive

AT_ONCE = 64
PAGE = 1000
REST = 9  # times as long as the reading before
_NOTHING_STANDS = tsl.packed({}, SIZE, others=tsl.INVALID)


class StatusLists:
    """`signed` and `current` are for anybody."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Task[Sequence[int]]] = {}
        self._turn = asyncio.Lock()
        self._free_at = 0.0
        self._over: set[int] = set()

    async def signed(self, env: Env, number: int) -> str:
        """This list as a JWT; `Absent` if it has not begun."""
        newest = env.clock() // WINDOW
        if number > newest:
            raise Absent(inside=f"list {number} has not begun")
        array = _NOTHING_STANDS
        if number not in self._over and number >= newest - KEPT:
            valid = await self._fresh(number, lambda: self._valid(env, number, env.clock()))
            array = tsl.packed(dict.fromkeys(valid, tsl.VALID), SIZE, others=tsl.INVALID) if valid else array
        return tsl.encode(tsl.address(env.issuer_url, number), array, env.clock(), env.token_key())

    async def _fresh(self, name: int, read: Callable[[], Awaitable[Sequence[int]]]) -> Sequence[int]:
        """A reading that began after this was asked, shared with all who wait for it."""
        if name not in self._waiting:
            self._waiting[name] = asyncio.create_task(self._next(name, read))
        return await asyncio.shield(self._waiting[name])

    async def _next(self, name: int, read: Callable[[], Awaitable[Sequence[int]]]) -> Sequence[int]:
        async with self._turn:
            await asyncio.sleep(max(0.0, self._free_at - time.perf_counter()))
            del self._waiting[name]  # whoever asks from here on needs a later reading
            began = time.perf_counter()
            try:
                return await read()
            finally:
                now = time.perf_counter()
                if name not in self._over:  # what is over is read once, and there are few of those
                    self._free_at = now + REST * (now - began)

    async def _valid(self, env: Env, number: int, now: int) -> Sequence[int]:
        """Indices whose token stands. Whatever else there is, an index that nobody has too, is INVALID."""
        keys = await env.store.find(SigningKey, {"use": "token"}, limit=PAGE)
        signed = [key.created_at for key in keys if key.state in (KeyState.CURRENT, KeyState.RETIRING)]
        found: list[int] = []
        after, lasts = "", False
        while entries := await env.store.find(StatusEntry, {"list": str(number)}, after=after, limit=PAGE):
            after = entries[-1].key
            left = [one for one in entries if now < one.expires_at]
            lasts = lasts or bool(left)
            # What was signed by a key that has been destroyed is no token any more.
            left = [one for one in left if signed and one.issued_at >= min(signed)]
            for start in range(0, len(left), AT_ONCE):
                some = left[start : start + AT_ONCE]
                stand = await asyncio.gather(*(alive(env, one.lease, one.path, now) for one in some))
                found += [one.index for one, stands in zip(some, stand, strict=True) if stands]
                await asyncio.sleep(0)  # a store in this process never waits by itself
        newest = now // WINDOW
        if not lasts and number < newest - 1:
            self._over = {one for one in (*self._over, number) if one >= newest - KEPT}
        return found

    async def current(self, env: Env) -> Sequence[int]:
        """The lists in which a token may be VALID."""
        return await self._fresh(-1, lambda: self._live(env))

    async def _live(self, env: Env) -> Sequence[int]:
        newest, live = env.clock() // WINDOW, await env.leases_in(LeaseState.LIVE)
        return sorted({newest - 1, newest, *(_list(lease) for lease in live if lease.status)})


def _list(lease: Lease) -> int:
    return int(lease.status.partition("/")[0])
