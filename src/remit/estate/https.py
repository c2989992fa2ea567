"""`Centre` over HTTP: bounded in time and size, TLS verified, connections kept, and no redirect or proxy in between."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec

from remit.domain.caller import AccessKey, CallerKind
from remit.domain.errors import Absent, BadField, Refusal, Unauthenticated, Unavailable, WrongCaller
from remit.domain.estate import EdgeSeen
from remit.domain.flow import Json
from remit.formats import base64url, json_input, rfc9457, row_body
from remit.formats.estate import DEPTH, Signed
from remit.formats.estate import WIRE_LIMIT as LIMIT
from remit.ports.estate import Handed, Heard, Reported

T = TypeVar("T")
ANSWER = 5.0  # seconds that a whole answer may take
BEAT = 2.0
LARGE = 30.0  # a catalogue, a report, a task that has read much
SILENCE = 40.0  # seconds without a byte after which a stream of frames is thought dead


class HttpsCentre:
    """One edge's way to its centre. `key` is its bearer key; `ca` a PEM file, where the centre's is no public one."""

    def __init__(self, url: str, key: str, ca: str = "", transport: httpx.AsyncBaseTransport | None = None) -> None:
        verify = ssl.create_default_context(cafile=ca or None)
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=20.0)
        self._http = httpx.AsyncClient(
            base_url=url,
            verify=verify,
            headers={"Authorization": f"Bearer {key}"},
            limits=limits,
            trust_env=False,
            timeout=httpx.Timeout(ANSWER, connect=2.0),
            transport=transport,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def snapshot(self, nonce: str, seat: str) -> Signed:
        """See `ports.estate.Centre`."""
        return _signed(await self._ask("POST", "/v1/estate/snapshot", {"nonce": nonce, "seat": seat}, LARGE))

    async def catalogue(self, digest: str) -> Mapping[str, str]:
        """See `ports.estate.Centre`."""
        found = await self._ask("GET", f"/v1/estate/catalogues/{digest}", None, LARGE)
        return _member(found, "files", dict[str, str])

    async def frames(self, since: int) -> Sequence[Signed]:
        """See `ports.estate.Centre`."""
        found = await self._ask("GET", f"/v1/estate/frames?since={since}", None, LARGE)
        return [_signed(one) for one in _member(found, "frames", list[Any])]

    async def pushed(self, since: int) -> AsyncGenerator[Signed]:
        """See `ports.estate.Centre`; over server-sent events."""
        headers = {"Accept": "text/event-stream"}
        timeout = httpx.Timeout(SILENCE, connect=2.0)
        path = f"/v1/estate/frames?since={since}"
        try:
            async with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
                if response.status_code != 200:
                    raise await _refused(response)
                async for data in _events(response.aiter_bytes()):
                    yield _signed(json_input.parse(data, limit=LIMIT, depth=DEPTH))
        except httpx.HTTPError as failure:
            raise _silent(failure) from failure

    async def beat(self, nonce: str, seen: EdgeSeen) -> Heard:
        """See `ports.estate.Centre`."""
        body = {"nonce": nonce, "seen": msgspec.to_builtins(seen)}
        found = await self._ask("POST", "/v1/estate/beats", body, BEAT)
        return Heard(_signed(found), _member(found, "received", int))

    async def entrust(self, task: str, seat: str, nonce: str) -> Handed:
        """See `ports.estate.Centre`."""
        found = await self._ask(
            "POST", f"/v1/estate/tasks/{_segment(task)}/entrust", {"seat": seat, "nonce": nonce}, LARGE
        )
        memory = base64url.decode(_member(found, "memory", str))
        if len(memory) != 32:
            raise BadField("memory", "must be 32 bytes")
        return Handed(_signed(found), memory)

    async def give_back(self, task: str, seat: str, through: int) -> None:
        """See `ports.estate.Centre`."""
        body = {"seat": seat, "through": through}
        await self._ask("POST", f"/v1/estate/tasks/{_segment(task)}/return", body, ANSWER)

    async def report(self, seat: str, events: Sequence[Reported]) -> int:
        """See `ports.estate.Centre`."""
        told = [
            {"index": one.index, "leaf": one.leaf.decode(), "bodies": [body.decode() for body in one.bodies]}
            for one in events
        ]
        found = await self._ask("POST", "/v1/estate/reports", {"seat": seat, "events": told}, LARGE)
        return _member(found, "received", int)

    async def call(self, path: str, body: Json, trace: str) -> tuple[int, Json]:
        """See `ports.estate.Centre`."""
        traced = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-00"} if trace else {}
        async with self._sent("POST", path, body, ANSWER, traced) as response:
            if response.status_code == 401:
                raise await _refused(response)
            return response.status_code, await _read(response)

    async def access_key(self, digest: str) -> AccessKey | None:
        """See `ports.estate.Centre`."""
        try:
            found = await self._ask("GET", f"/v1/estate/keys/{digest}", None, ANSWER)
        except Absent:
            return None
        try:
            row = row_body.decode(AccessKey, msgspec.json.encode(found))
        except (TypeError, ValueError, KeyError, AttributeError) as flaw:
            raise BadField("key", "is not the row of a key") from flaw
        return row if row.digest == digest and row.kind is CallerKind.ENFORCER else None

    async def _ask(self, method: str, path: str, body: Any, seconds: float) -> Any:
        async with self._sent(method, path, body, seconds) as response:
            if response.status_code != 200:
                raise await _refused(response)
            return await _read(response)

    @asynccontextmanager
    async def _sent(
        self, method: str, path: str, body: Any, seconds: float, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        try:
            stream = self._http.stream(method, path, json=body, headers=headers)
            async with asyncio.timeout(seconds), stream as response:
                yield response
        except (httpx.HTTPError, TimeoutError) as failure:
            raise _silent(failure) from failure


def _silent(failure: Exception) -> Unavailable:
    return Unavailable(
        "The centre does not answer.",
        next_step="Is the link between this edge and the centre up?",
        inside=f"{type(failure).__name__}: {failure}",
    )


async def _read(response: httpx.Response) -> Any:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > LIMIT:
            raise Unavailable("The centre's answer is too large.", inside=f"over {LIMIT} bytes")
    try:
        return json_input.parse(bytes(body), limit=LIMIT, depth=DEPTH) if body else None
    except Refusal as flaw:
        raise Unavailable("The centre's answer cannot be understood.", inside=flaw.message) from flaw


async def _refused(response: httpx.Response) -> Refusal:
    return _of_edge(rfc9457.read(response.status_code, await _read(response)))


def _of_edge(refusal: Refusal) -> Refusal:
    """That the centre does not know this edge is nothing that the edge's own caller could have done better."""
    if not isinstance(refusal, Unauthenticated | WrongCaller):
        return refusal
    step = "Make it a new key, and enrol it again: remit edge enrol."
    return Unavailable("The centre does not let this edge in.", next_step=step, inside=refusal.message)


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each server-sent event that has any (one `data` line each, as the centre writes them)."""
    waiting = b""
    async for chunk in chunks:
        waiting += chunk
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
        if len(waiting) > LIMIT:
            raise Unavailable("The centre's answer is too large.", inside="an event without an end")


def _signed(found: Any) -> Signed:
    return Signed(_member(found, "statement", str), _member(found, "body", str))


def _member(found: Any, name: str, kind: type[T]) -> T:
    if not isinstance(found, dict) or name not in found:
        raise Unavailable("The centre's answer cannot be understood.", inside=f"no {name}")
    try:
        return msgspec.convert(found[name], kind)
    except msgspec.ValidationError as flaw:
        raise Unavailable("The centre's answer cannot be understood.", inside=f"{name}: {flaw}") from flaw


def _segment(task: str) -> str:
    if not task.replace("_", "").isalnum() or not task.isascii() or len(task) > 128:
        raise Absent(inside="not a task's id")
    return task
