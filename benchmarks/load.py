"""A light HTTP/1.1 keep-alive load client: raw sockets, one process, so that it costs little beside the server.

Reads from standard input, as JSON: host, port, connections, seconds, and requests (whole requests as text, cut
between the connections). Prints latencies as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time


async def drive(
    host: str, port: int, requests: list[bytes], until: float, samples: list[float], bad: list[int]
) -> None:
    """One connection."""
    reader, writer = await asyncio.open_connection(host, port)
    index = 0
    while time.perf_counter() < until and index < len(requests):
        started = time.perf_counter()
        writer.write(requests[index])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        if length:
            await reader.readexactly(length)
        samples.append(time.perf_counter() - started)
        if not head.startswith(b"HTTP/1.1 20"):
            bad.append(1)
        index += 1
    writer.close()


async def main() -> None:
    """All of them."""
    asked = json.load(sys.stdin)
    requests = [text.encode() for text in asked["requests"]]
    count = asked["connections"]
    shares = [requests[i::count] for i in range(count)]
    samples: list[float] = []
    bad: list[int] = []
    started = time.perf_counter()
    until = started + asked["seconds"]
    await asyncio.gather(*(drive(asked["host"], asked["port"], share, until, samples, bad) for share in shares))
    json.dump({"samples": samples, "elapsed": time.perf_counter() - started, "bad": len(bad)}, sys.stdout)


try:
    import uvloop

    uvloop.run(main())
except ImportError:
    asyncio.run(main())
