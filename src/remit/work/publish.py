"""Publish: what is pushed to edges goes to a stream too, once and in order, from whichever replica has the turn.

Who begins goes on where the stream ends, and every message names the place it is put at. So of two who think that the
turn is theirs one is refused, and looks again; nothing is lost between them and no stretch is there twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from remit.domain.errors import BadToken, Conflict, Refusal, TooLarge
from remit.formats import estate, jwk
from remit.formats.estate import Frame, Said
from remit.ports import Env, LogReader
from remit.ports.estate import Pushes, Stream

PATIENCE = 0.25  # seconds that one pass waits for a frame
FAR = 50_000  # events; what is older is not made up for: edges ask for it
_log = structlog.get_logger("remit.work")


class Publish:
    """`once` is one pass; `close` leaves."""

    def __init__(self, env: Env, log: LogReader, pushes: Pushes, stream: Stream) -> None:
        self._env, self._log, self._pushes, self._stream = env, log, pushes, stream
        self._queue: asyncio.Queue[Frame | None] | None = None
        self._after = 0
        self._sent = -1
        self._failures = 0

    @property
    def failing(self) -> bool:
        """The stream did not take what it was given last; edges then ask for it instead."""
        return self._failures > 0

    async def once(self) -> bool:
        """Put what is there; False when it has to wait. A stream that is away is waited for: edges do without."""
        try:
            if self._queue is None:
                await self._begin()
            await self._one()
            self._failures = 0
            return True
        except Conflict:
            self._leave()
            return True
        except Refusal as failure:
            self._leave()
            self._failures += 1
            if not self._failures & (self._failures - 1):  # the first, the second, the fourth, …
                _log.warning("frames are not published", why=failure.message, inside=failure.inside)
            return False
        except BaseException:
            self._leave()
            raise

    async def close(self) -> None:
        """Leave; another one goes on where this ends."""
        self._leave()
        await self._stream.close()

    def _leave(self) -> None:
        queue, self._queue = self._queue, None
        if queue is not None:
            self._pushes.leave(queue)

    async def _begin(self) -> None:
        """Listen first, then put what came since the stream ends."""
        self._queue = self._pushes.listen("")
        self._after, wire = await self._stream.last()
        size, _ = await self._log.head()
        self._sent = max(self._sent, self._told(wire))
        if not max(0, size - FAR) <= self._sent <= size:  # nothing yet, too old, or of a log that has gone back
            self._sent = size
        await self._make_up()

    async def _one(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                assert self._queue is not None
                frame = await self._queue.get()
        except TimeoutError:
            return
        if frame is None:
            self._queue = None
        elif frame.since > self._sent:
            await self._make_up()
        elif frame.size > self._sent:
            await self._put(frame)

    async def _make_up(self) -> None:
        while frames := await self._pushes.pages(self._sent):
            for frame in frames:
                await self._put(frame)

    async def _put(self, frame: Frame) -> None:
        try:
            self._after = await self._stream.put(frame.wire, f"{frame.since}-{frame.size}", self._after)
        except TooLarge as large:  # edges find that it is missing, and ask for it
            _log.warning("a frame is too large to publish", inside=large.inside)
        self._sent = frame.size

    def _told(self, wire: bytes) -> int:
        """How far what the stream ends with tells; -1 unless this centre signed it."""
        if not wire:
            return -1
        try:
            keys: Sequence[jwk.PublicKey] = jwk.parse_set({"keys": list(self._env.signer.public("token"))})
            return estate.parse(estate.read(wire), Said.FRAME, issuer=self._env.issuer_url, keys=keys).size
        except BadToken:
            return -1
