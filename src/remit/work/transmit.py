"""Transmit: push to each receiver what the log says to it (RFC 8935), in order, until it was taken.

What was taken and not written down when a process dies is sent again, under the same `jti`. Each stream has a task of
its own, so one that is slow keeps nobody waiting. Between replicas a stream is sent by whoever takes its turn first.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import structlog

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Conflict, Refusal, StoreUnavailable
from remit.domain.signal import SecurityEvent
from remit.domain.stream import Receiver, Stream, StreamState
from remit.formats import json_input, rfc8417
from remit.govern.outward import signed, waiting
from remit.ports import Env, LogReader

from .kill_leases import attempt

SYSTEM = Caller(CallerKind.SYSTEM, "transmit")
AT_ONCE = 32
TURN = 30_000  # ms; a batch takes less, and whoever died in one is followed after it
LONGEST = 15.0  # s that one batch takes before what was taken is written down
FAR = 10_000
_HOPELESS = ("invalid_request", "invalid_issuer", "invalid_audience", "invalid_state")
_log = structlog.get_logger("remit.work")


class Transmitting:
    """`look` begins what there is to do and does not wait for it; `finish` does."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}
        self._seen: dict[str, tuple[int, int]] = {}

    async def look(self, env: Env, log: LogReader) -> bool:
        """One pass over the streams; True when anything was begun."""
        _, force = await env.in_force()
        if not force.catalogue.receivers:
            return False
        now, began = env.clock(), False
        size, _ = await log.head()
        for row in await env.store.find(Stream, {"state": StreamState.ENABLED.value}, limit=1000):
            receiver, busy = force.catalogue.receivers.get(row.receiver), self._running.get(row.key)
            if receiver is None or (busy is not None and not busy.done()):
                continue
            if row.inactive_at(now):
                await self._pause(env, row, now, size)
            elif row.url and now >= row.due and self._start(row) < size:
                self._running[row.key] = asyncio.create_task(self._guarded(env, log, row, receiver))
                began = True
        return began

    async def finish(self) -> None:
        """Let what is under way be written down."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _start(self, row: Stream) -> int:
        """Where to look next: past what is known to say nothing, of which nothing is written down."""
        position, seen = self._seen.get(row.id, (0, 0))
        return max(row.position, seen) if position == row.position else row.position

    async def _guarded(self, env: Env, log: LogReader, row: Stream, receiver: Receiver) -> None:
        try:
            await self._send(env, log, row, receiver)
        except (Refusal, OSError) as failure:
            _log.error("transmit failed", receiver=row.receiver, error=type(failure).__name__, exc_info=failure)

    async def _send(self, env: Env, log: LogReader, row: Stream, receiver: Receiver) -> None:
        found, end = await waiting(env, log, row, receiver, start=self._start(row), limit=AT_ONCE)
        now = env.clock()
        if not found:
            self._seen[row.id] = (row.position, end)
            if end - row.position > FAR:
                await _write(env, row, end, 0)
            return
        if not await env.store.spend(f"transmit:{row.id}:{row.version}:{now // TURN}", now + 2 * TURN):
            return  # another replica's
        authorization = env.sealer.unseal(row.authorization, row.context).decode() if row.authorization else ""
        taken, flaw = 0, ""
        until = asyncio.get_running_loop().time() + LONGEST
        for place, event in found:
            flaw = await self._push(env, row, receiver, authorization, place, event)
            if flaw or asyncio.get_running_loop().time() > until:
                break
            taken += 1
        if not flaw and taken < len(found):
            taken += 1  # the one that took us over the time was taken
        if taken:
            position = found[taken][0] if taken < len(found) else end
            row = await _write(env, row, position, taken) or row
        if flaw:
            await _failed(env, row, flaw)

    async def _push(
        self, env: Env, row: Stream, receiver: Receiver, authorization: str, place: int, event: SecurityEvent
    ) -> str:
        """Why it was not taken; empty when it was, or never will be."""
        text = signed(env, receiver, place, event).encode()
        private = receiver.allow_private_network
        try:
            answer = await env.signals.post(row.url, rfc8417.MEDIA, text, authorization, allow_private=private)
        except StoreUnavailable:
            raise
        except Refusal as refused:
            return refused.inside or refused.message
        if 200 <= answer.status < 300:
            return ""
        error = _error(answer.body) if answer.status == 400 else ""
        if error not in _HOPELESS:
            return f"status {answer.status} {error}".strip()
        because = events.SignalReturned(row.id, row.receiver, place, error)
        await env.store.commit(Change(because, Call(SYSTEM, env.clock())))
        return ""

    async def _pause(self, env: Env, row: Stream, now: int, size: int) -> None:
        why = f"nothing was taken since {row.failing}" if row.url else "nobody polled for seven days"
        after = row.turned(StreamState.PAUSED, why, size)
        because = events.StreamTurned(row.id, row.receiver, after.state.value, why)
        await attempt(env, Change(because, Call(SYSTEM, now)).put(after, was=row))


async def _write(env: Env, row: Stream, position: int, count: int) -> Stream | None:
    """It has been told so far; None when the stream was changed meanwhile, and is looked at again."""
    after = replace(row.reached(position), heard_at=env.clock() if count else row.heard_at)
    because = events.SignalsDelivered(row.id, row.receiver, count, position)
    with suppress(Conflict):
        await env.store.commit(Change(because, Call(SYSTEM, env.clock())).put(after, was=row))
        return replace(after, version=row.version + 1)
    return None


async def _failed(env: Env, row: Stream, flaw: str) -> None:
    after = row.failed(env.clock(), flaw)
    because = events.StreamFailing(row.id, row.receiver, after.attempts, flaw[:200])
    await attempt(env, Change(because, Call(SYSTEM, env.clock())).put(after, was=row))


def _error(body: bytes) -> str:
    try:
        document = json_input.parse(body, limit=4096)
    except Refusal:
        return ""
    found = document.get("err") if isinstance(document, dict) else None
    return found if isinstance(found, str) and len(found) < 100 else ""
