"""What was refused and may be a shadow, on its way to the store.

A refusal costs one `append` whoever it is about, so it tells nobody by its time who is registered (law 11). What it was
about is made out later, at most so many a second, and all of it in one statement.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable

import structlog

from remit.domain.catalogue import Catalogue
from remit.domain.errors import NotAttested, Refusal, Unauthenticated
from remit.domain.shadow import ShadowKind, Sighting, counted, unregistered
from remit.formats import form, rfc7523
from remit.ports import Shadows

EVERY = 1.0
UNPROVED = 64  # of what anybody may say, in a second; the rest is counted and lost
REPORTED = 256  # different things by one reporter, in a second
_LARGEST = 16 * 1024  # of a request that is looked at
_TOKENS = "/oauth/token"
_log = structlog.get_logger("remit.web")
Dropped = Callable[[str, int], None]


class Waiting:
    """What was seen and is not written yet. What a stranger made up waits apart from what was proved or reported, and
    each reporter's apart.
    """

    def __init__(
        self, store: Shadows, catalogue: Callable[[], Awaitable[Catalogue]], clock: Callable[[], int], lost: Dropped
    ) -> None:
        self._store, self._catalogue, self._clock, self._lost = store, catalogue, clock, lost
        self._bodies: deque[bytes] = deque(maxlen=UNPROVED)
        self._reported: dict[str, Counter[Sighting]] = {}
        self._over = 0
        self._writing: asyncio.Task[None] | None = None

    def refused(self, path: str, body: bytes, refusal: Unauthenticated) -> None:
        """Somebody was refused before they were known."""
        if isinstance(refusal, NotAttested) and refusal.subject:
            kind, name, source = refusal.subject
            self.saw(Sighting(ShadowKind(kind), name, source, source))
        elif path == _TOKENS and len(body) <= _LARGEST:
            self._over += len(self._bodies) == UNPROVED
            self._bodies.append(body)
            self._wake()

    def saw(self, one: Sighting) -> None:
        """By evidence, or by the word of an enforcement point."""
        if not one.name:
            return
        said = self._reported.setdefault(one.reporter, Counter())
        if one in said or len(said) < REPORTED:
            said[one] += 1
        else:
            self._over += 1
        self._wake()

    def _wake(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._bodies or self._reported:
            await asyncio.sleep(EVERY)
            bodies, reported, over = list(self._bodies), self._reported, self._over
            self._bodies.clear()
            self._reported, self._over = {}, 0
            self._lost("waiting", over)
            said = Counter(one for body in bodies if (one := claimed(body)))
            for each in reported.values():
                said.update(each)
            try:
                found = unregistered(counted(said.items(), self._clock()), await self._catalogue())
                if found:
                    self._lost("evicted", await self._store.shadowed(found))
            except Refusal as failure:
                self._lost("waiting", said.total())
                _log.warning("what was seen is not kept", code=failure.code)


def claimed(body: bytes) -> Sighting | None:
    """Who a request for a token said to come from, of which nothing was proved."""
    try:
        fields = form.parse(body)
        assertion = form.one(fields, "client_assertion", required=False)
        name = rfc7523.claimed_client(assertion) if assertion else form.one(fields, "client_id", required=False)
    except Refusal:
        return None
    return Sighting(ShadowKind.CLIENT, name, _TOKENS) if name else None
