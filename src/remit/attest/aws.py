"""Sending a signed GetCallerIdentity to STS: one POST to an address that was checked, in bounded time and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from remit.domain.errors import BadToken, Busy, Unavailable
from remit.domain.flow import Json
from remit.formats import aws_caller

TIME_LIMIT = 5.0
AT_ONCE = 8


class AwsCallers:
    """Implements `ports.Attestor.caller`. At most eight are sent at once: strangers cannot make us flood STS."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._free = asyncio.Semaphore(AT_ONCE)

    async def caller(self, request: aws_caller.Checked) -> Mapping[str, Json]:
        """See `ports.Attestor`."""
        if self._free.locked():
            raise Busy("Too many are proving themselves at once.", next_step="Try again in a moment.")
        async with self._free:
            try:
                async with asyncio.timeout(TIME_LIMIT):
                    status, body = await self._send(request)
            except (TimeoutError, OSError, httpx.HTTPError) as failure:
                raise _unavailable(type(failure).__name__) from failure
        if 400 <= status < 500 and status != 429:
            raise BadToken("The signed AWS request is not valid.", inside=f"STS answered {status}")
        if status != 200:
            raise _unavailable(f"status {status}")
        return aws_caller.parse_answer(body)

    async def _send(self, request: aws_caller.Checked) -> tuple[int, bytes]:
        headers = {"accept": "text/xml", "accept-encoding": "identity", "user-agent": "remit", **request.headers}
        async with (
            httpx.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=TIME_LIMIT, transport=self._transport
            ) as client,
            client.stream("POST", request.url, headers=headers, content=aws_caller.BODY) as answer,
        ):
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > aws_caller.ANSWER_LIMIT:
                    raise _unavailable("an answer that is too long")
            return answer.status_code, bytes(body)


def _unavailable(inside: str) -> Unavailable:
    return Unavailable("AWS cannot be asked who signed this.", next_step="Try again shortly.", inside=f"STS: {inside}")
