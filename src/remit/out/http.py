"""Batches of JSON lines by HTTP POST, compressed; an answer of 2xx is the acknowledgement, and nothing else is."""

from __future__ import annotations

import asyncio
import time
import zlib
from email.utils import parsedate_to_datetime

from remit.domain.errors import Refusal
from remit.domain.out import Sink
from remit.ports import Answer, Batch, NotTaken

from . import Tools

MEDIA = "application/x-ndjson"


class HttpSender:
    """Implements `ports.Sender`."""

    def __init__(self, sink: Sink, tools: Tools) -> None:
        self._sink, self._tools = sink, tools

    async def send(self, batch: Batch) -> None:
        """`Remit-Batch` says which places these are (RFC 9651), and who sends: see `ports.Batch`."""
        told = f'log="{batch.log}", first={batch.first}, count={len(batch.records)}, holder={batch.holder}'
        text = b"".join(record + b"\n" for record in batch.records)
        await posted(self._tools, self._sink, self._sink.url, MEDIA, text, {"Remit-Batch": told})


async def posted(tools: Tools, sink: Sink, url: str, media: str, text: bytes, more: dict[str, str]) -> Answer:
    """The answer, if it is 2xx; `NotTaken` otherwise. No redirect is followed."""
    headers = {"Content-Type": media, "Content-Encoding": "gzip", **more}
    authorization = await tools.authorization(sink)
    if authorization:
        headers["Authorization"] = authorization
    content = await asyncio.to_thread(_zipped, text)
    try:
        answer = await tools.ask(sink.authority)(
            "POST", url, content=content, headers=headers, allow_private=sink.allow_private_network
        )
    except Refusal as refused:
        raise NotTaken(refused.inside or refused.message, large=True) from refused
    if 200 <= answer.status < 300:
        return answer
    wait = retry_after(answer.headers.get("retry-after", ""))
    raise NotTaken(f"status {answer.status}", wait=wait, large=answer.status == 413)


def _zipped(text: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(text) + packer.flush()


def retry_after(text: str) -> int:
    """Milliseconds (RFC 9110 section 10.2.3); 0 when it says nothing that can be read."""
    if text.isascii() and text.isdecimal() and len(text) < 9:
        return int(text) * 1000
    try:
        return max(0, int((parsedate_to_datetime(text).timestamp() - time.time()) * 1000))
    except (ValueError, TypeError, OverflowError):
        return 0
