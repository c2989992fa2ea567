"""Wakes between processes: NOTIFY, and one connection a process that listens and comes back when it is lost.

A wake is sent after the commit, not in it. PostgreSQL lets transactions that notify commit one after the other, each
with its own wait for the disk, whoever's they are; so a NOTIFY in every commit would put all replicas in one queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

from remit.ports import Wake

CHANNEL = "remit_wakes"
GAP = 0.002  # seconds between two notifications of one process; what comes meanwhile goes into one
ALIVE_EVERY = 5.0
AGAIN_AFTER = 0.25
_NAMED = {"application_name": "remit wakes"}
_KNOWN = {wake.value: wake for wake in Wake}
_log = structlog.get_logger("remit.store")


class Post:
    """Sends and hears until `close`. `heard` gets what other processes sent, and everything after a gap."""

    def __init__(self, dsn: str, heard: Callable[[Sequence[Wake]], None]) -> None:
        self._dsn = dsn
        self._heard = heard
        self._outgoing: set[Wake] = set()
        self._pending = asyncio.Event()
        self._sent = asyncio.Event()
        self._working = asyncio.create_task(self._work())

    def send(self, kinds: Sequence[Wake]) -> None:
        """To every other process, soon."""
        self._outgoing.update(kinds)
        self._sent.clear()
        self._pending.set()

    async def close(self) -> None:
        """Send what waits, then leave."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1 if self._outgoing else 0):
                await self._sent.wait()
        self._working.cancel()
        with suppress(asyncio.CancelledError):
            await self._working

    async def _work(self) -> None:
        while True:
            connection = None
            try:
                connection = await asyncpg.connect(self._dsn, timeout=5, command_timeout=5, server_settings=_NAMED)
                await connection.add_listener(CHANNEL, self._got)
                connection.add_termination_listener(lambda _: self._pending.set())
                self._heard(tuple(Wake))  # whatever was sent before is lost
                await self._send_all(connection)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as failure:
                _log.warning("wakes are not heard for a moment", error=type(failure).__name__)
                await asyncio.sleep(AGAIN_AFTER)
            finally:
                if connection is not None:
                    connection.terminate()

    async def _send_all(self, connection: Any) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ALIVE_EVERY):
                    await self._pending.wait()
            self._pending.clear()
            sending, self._outgoing = self._outgoing, set()
            if not sending:
                await connection.execute("SELECT 1")  # finds out that it is gone
                continue
            try:
                text = " ".join(sorted(wake.value for wake in sending))
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, text)
            except BaseException:
                self._outgoing |= sending
                raise
            self._sent.set()
            await asyncio.sleep(GAP)

    def _got(self, connection: Any, sender: int, channel: str, text: object) -> None:
        if sender != connection.get_server_pid():
            self._heard(_kinds(str(text)))


def _kinds(text: str) -> tuple[Wake, ...]:
    """Those that we know: another version may send others."""
    return tuple(_KNOWN[word] for word in text.split() if word in _KNOWN)
