"""What was refused and may be a shadow, on its way to the store.

A refusal costs one `append` whoever it is about, so it tells nobody by its time who is registered (law 11). What it was
about is made out later, at most so many a second, and all of it in one statement.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from remit.domain.catalogue import Catalogue
from remit.domain.errors import NotAttested, Refusal, Unauthenticated
from remit.domain.shadow import ShadowKind, Sighting, counted, registered
from remit.formats import form, rfc7523
from remit.ports import Shadows

EVERY = 1.0
UNPROVED = 64  # of what anybody may say, in a second; the rest is counted and lost
PROVED = 512
_log = structlog.get_logger("remit.web")
Dropped = Callable[[str, int], None]


class Waiting:
    """What was seen and is not written yet. What a stranger made up waits apart from what was proved."""

    def __init__(
        self, store: Shadows, catalogue: Callable[[], Awaitable[Catalogue]], clock: Callable[[], int], lost: Dropped
    ) -> None:
        self._store, self._catalogue, self._clock, self._lost = store, catalogue, clock, lost
        self._bodies: deque[tuple[str, bytes]] = deque(maxlen=UNPROVED)
        self._proved: deque[Sighting] = deque(maxlen=PROVED)
        self._over = 0
        self._writing: asyncio.Task[None] | None = None

    def refused(self, path: str, body: bytes, refusal: Unauthenticated) -> None:
        """Somebody was refused before they were known."""
        if isinstance(refusal, NotAttested) and refusal.subject:
            kind, name, source = refusal.subject
            self.saw(Sighting(ShadowKind(kind), name, source))
        else:
            self._over += len(self._bodies) == UNPROVED
            self._bodies.append((path, body))
            self._wake()

    def saw(self, one: Sighting) -> None:
        """By evidence, or by the word of an enforcement point."""
        self._over += len(self._proved) == PROVED
        self._proved.append(one)
        self._wake()

    def _wake(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._bodies or self._proved or self._over:
            await asyncio.sleep(EVERY)
            bodies, proved, over = list(self._bodies), list(self._proved), self._over
            self._bodies.clear()
            self._proved.clear()
            self._over = 0
            self._lost("waiting", over)
            said = [one for path, body in bodies if (one := _claimed(path, body))]
            try:
                catalogue = await self._catalogue()
                every = counted([*said, *proved], self._clock()).values()
                found = [one for one in every if not registered(one, catalogue)]
                if found:
                    self._lost("evicted", await self._store.shadowed(found))
            except Refusal as failure:
                self._lost("waiting", len(said) + len(proved))
                _log.warning("what was seen is not kept", code=failure.code)


def _claimed(path: str, body: bytes) -> Sighting | None:
    """Who the caller said to be, of which nothing was proved."""
    if path != "/oauth/token":
        return None
    try:
        fields = form.parse(body)
        assertion = form.one(fields, "client_assertion", required=False)
        name = rfc7523.claimed_client(assertion) if assertion else form.one(fields, "client_id", required=False)
    except Refusal:
        return None
    return Sighting(ShadowKind.CLIENT, name, path) if name else None
