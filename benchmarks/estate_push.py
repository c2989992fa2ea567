"""From the moment a revoke is acknowledged until an edge has it in its hands: the stream of frames, and a beat.

`n` listeners in a process of their own hold a stream each to one server. Each measures when the frame that tells of the
end arrived, by the machine's own clock; what the first, the median and the last of them saw is the price of the fan-out.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measure import emit, timed
from tests.edge_by_hand import EdgeClient
from tests.server import CATALOGUE, furnished, process

from remit.web.frames import EACH

LISTENERS = (1, 100, 1000)
ROUNDS = 20
BEATS = 400
REPORTED = 2048


async def listen(url: str, key: str, heard: asyncio.Queue[tuple[float, str]], ready: asyncio.Semaphore) -> None:
    """One stream; what has `ended` in it is put where the rounds look."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(
        f"GET /v1/estate/frames?since=9007199254740992 HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: Bearer {key}\r\n"
        "Accept: text/event-stream\r\n\r\n".encode()
    )
    while b"retry" not in await reader.readline():
        pass
    ready.release()
    while data := await reader.readline():
        if b"ended" in data:
            heard.put_nowait((time.monotonic(), json.loads(json.loads(data[5:])["body"])["ended"][0][0]))


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def push(server: Any, edge: EdgeClient, keys: list[str], listeners: int) -> None:
    """Rounds of: a task at the edge is ended, and everybody hears of it."""
    heard: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
    ready = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(listen(server.url, keys[n % len(keys)], heard, ready)) for n in range(listeners)]
    for _ in tasks:
        await ready.acquire()
    bot = await asyncio.to_thread(server.agent)
    operator = server.http("operator")
    first, median, last = [], [], []
    spent = cpu(server.child.pid)
    for _ in range(ROUNDS):
        task, _ = await asyncio.to_thread(bot.task)
        await asyncio.to_thread(edge.entrust, task)
        await asyncio.to_thread(operator.post, f"/v1/tasks/{task}/end", json={"reason": "bench"})
        acknowledged = time.monotonic()
        took = sorted([(await heard.get())[0] - acknowledged for _ in tasks])
        for found, value in ((first, took[0]), (median, took[len(took) // 2]), (last, took[-1])):
            found.append(value * 1000)
        await asyncio.sleep(0.05)
    for task_ in tasks:
        task_.cancel()
    each = (cpu(server.child.pid) - spent) / ROUNDS * 1000
    note = f"first {statistics.median(first):.1f} ms, median {statistics.median(median):.1f} ms after the acknowledgement; "
    note += f"a round costs the server {each:.0f} ms of CPU"
    emit("estate.push", "remit", listeners, value=round(statistics.median(last), 1), unit="ms to the last", note=note)


def beats(edge: EdgeClient) -> None:
    """A beat of an edge that is up to date, by itself."""
    size = edge.snapshot().size
    seen = {"seat": edge.seat, "size": size, "catalogue": "", "held": 0, "backlog": 0, "release": "bench"}
    took = timed(lambda: edge.ask("/v1/estate/beats", nonce=secrets.token_hex(16), seen=seen), BEATS)
    emit("estate.beat", "remit", 1, took, note="one edge, one after the other; 2 ms of it wait for others to share")


async def reports(folder: Path) -> None:
    """A batch of permits through group commit: each its own event, the task's row, and how far the log is taken in."""
    from tests.edge_by_hand import EdgeWorld
    from tests.world import world

    from remit.store.sqlite import SqliteStore
    from remit.verbs.entrust import entrust
    from remit.verbs.join import join
    from remit.verbs.report import MOST, report

    store = SqliteStore.open(folder / "centre.db")
    centre = await world(store, CATALOGUE, now=time.time_ns() // 1_000_000)
    edge = await EdgeWorld.beside(centre.env, CATALOGUE)
    await join(centre.env, edge.call(), edge.seat)
    _, bot = await centre.proved()
    task = await centre.task(bot)
    await edge.take(await entrust(centre.env, edge.call(), task.id, edge.seat), b"m" * 32)
    for _ in range(REPORTED):
        await edge.decide(bot, task.id)
    log = await edge.log()
    batches = [log[at : at + MOST] for at in range(0, len(log), MOST)]
    began, spent, took = time.perf_counter(), time.process_time(), []
    for batch in batches:
        at = time.perf_counter()
        await report(centre.env, edge.call(), edge.seat, batch)
        took.append(time.perf_counter() - at)
    per_s, each = len(log) / (time.perf_counter() - began), (time.process_time() - spent) / len(log) * 1e6
    emit("estate.report", "remit", MOST, took, per_s=per_s, note=f"SQLite, durable; {each:.0f} µs of CPU an event")
    await store.close()


def main() -> None:
    """Every size that was asked for."""
    names = [f"edge-{n}" for n in range(max(LISTENERS) // EACH)]
    entries = "".join(f'[edges.{name}]\nurl = "https://{name}.example"\nowner = "olga"\n' for name in names)
    files = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + entries}
    with tempfile.TemporaryDirectory() as folder, process(Path(folder) / "data") as running:
        server = furnished(running, files)
        operator = server.http("operator")
        keys = [operator.post("/v1/keys", json={"kind": "edge", "name": name}).json()["key"] for name in names]
        edge = EdgeClient(server)
        edge.snapshot()
        beats(edge)
        asyncio.run(reports(Path(folder)))
        for listeners in LISTENERS:
            asyncio.run(push(server, edge, keys, listeners))


main()
