"""Frames as server-sent events (WHATWG HTML section 9.2), to as many as listen: one queue and one write for each."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from remit.formats.estate import Frame

from .frames import Frames, Listening
from .problems import HEADERS

LASTS = 900.0  # seconds; then an edge comes again, and shows its key
SILENCE = 10.0


class FrameStream(Response):
    """From `since` on. It ends when the edge leaves, does not read, is no edge any more, or after a while."""

    media_type = "text/event-stream"

    def __init__(self, frames: Frames, edge: str, since: int) -> None:
        super().__init__(headers={**HEADERS, "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames
        self._since = since
        self._queue = frames.listen(edge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        gone = asyncio.create_task(_gone(receive, self._frames, self._queue))
        alive = asyncio.create_task(_still_here(send))
        over = asyncio.get_running_loop().call_later(LASTS, self._frames.leave, self._queue)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send(_part(b"retry: 500\n\n"))
            while frames := await self._frames.pages(self._since):
                for frame in frames:
                    await send(_part(_event(frame)))
                self._since = frames[-1].size
            while (pushed := await self._queue.get()) is not None:
                await send(_part(_event(pushed)))
            alive.cancel()
            await send({"type": "http.response.body", "body": b""})
        finally:
            over.cancel()
            alive.cancel()
            gone.cancel()
            self._frames.leave(self._queue)


def _part(text: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": text, "more_body": True}


def _event(frame: Frame) -> bytes:
    return b"id: %d\ndata: %b\n\n" % (frame.size, frame.wire)


async def _still_here(send: Send) -> None:
    while True:
        await asyncio.sleep(SILENCE)
        await send(_part(b": still here\n\n"))


async def _gone(receive: Receive, frames: Frames, queue: Listening) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    frames.leave(queue)
