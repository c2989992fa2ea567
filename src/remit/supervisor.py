"""What a service manager is told (sd_notify): ready, stopping, and that the loop still turns. Without one, nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


def tell(state: str) -> None:
    """Send one state to NOTIFY_SOCKET (a path, or `@` for the abstract namespace); one that is gone is no error."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
        there.connect("\0" + address[1:] if address[0] == "@" else address)
        there.send(state.encode())


@asynccontextmanager
async def supervised(status: str) -> AsyncIterator[None]:
    """READY now, WATCHDOG twice in each WATCHDOG_USEC while the loop turns, STOPPING at the end."""
    tell(f"READY=1\nSTATUS={status}")
    beating = asyncio.create_task(_beat())
    try:
        yield
    finally:
        beating.cancel()
        tell("STOPPING=1")


async def _beat() -> None:
    every = os.environ.get("WATCHDOG_USEC", "")
    if not every.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        tell("WATCHDOG=1")
        await asyncio.sleep(max(0.1, int(every) / 2_000_000))
