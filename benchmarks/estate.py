"""A decision at an edge beside one at the centre; and how long after a revoke was acknowledged a real edge refuses.

The edge, the centre and the load are processes of one machine: what an edge saves, the journey, is not in it, and what
they take from each other is. `revoke.push` counts from the acknowledgement until the last of the subscribers, all of one
process, has the frame, and adds one verification: each edge has a processor of its own for that. `nats` is the same centre
publishing over JetStream, each subscriber with a connection and an ordered consumer of its own. `revoke.edge` counts until
a real edge refuses a call of the task, asked without a pause.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

import uvloop
from benchmarks.measure import ONLY, emit
from benchmarks.over_http import load, request
from tests.edge.estate import Estate, estate
from tests.edge.link import free_port
from tests.edge.nats_servers import HUB, nats_server

from remit.estate.nats import SILENCE, stream_of
from remit.formats import estate as statements
from remit.formats import jwk
from remit.formats.estate import Said, Signed
from remit.web.frames import EACH

SUBSCRIBERS = (10, 100, 1_000)
ROUNDS = 30
TASKS = 128
JSON = {"Content-Type": "application/json"}


def decisions(all_of_it: Estate) -> None:
    """The same calls of the same kind of task, at the edge and at the centre."""
    bot = all_of_it.agent()
    body = json.dumps({"tool": "list", "arguments": {"customer": "acme"}})
    key = {"Authorization": f"Bearer {all_of_it.centre.keys['gate']}"}
    for name, url in (("decision.edge", all_of_it.edge.url), ("decision.http", all_of_it.centre.url)):
        host = url.removeprefix("http://")
        tasks = [bot.task()[0] for _ in range(TASKS)]
        calls = [request(f"/v1/tasks/{task}/calls", host, body, key) for task in tasks]
        with all_of_it.centre.http("gate") as http:
            for task in tasks:  # the first call of each: at the edge it takes the task
                http.post(f"{url}/v1/tasks/{task}/calls", content=body, headers=JSON).raise_for_status()
        for connections, count in ((1, 2_000), (64, 12_000)):
            asked = [calls[i % TASKS] for i in range(count)]
            load(name, "remit", url, asked, connections, 5, "enforcement point, durable and logged; held tasks")


def revoked_at_an_edge(all_of_it: Estate) -> None:
    """One agent that calls as fast as it can while its task is ended at the centre."""
    bot = all_of_it.agent()
    samples = []
    with all_of_it.centre.http("operator") as operator, all_of_it.centre.http("gate") as gate:
        for _ in range(ROUNDS):
            task, _ = bot.task()
            url, asked = (
                f"{all_of_it.edge.url}/v1/tasks/{task}/calls",
                {"tool": "list", "arguments": {"customer": "acme"}},
            )
            assert gate.post(url, json=asked).json()["decision"] == "permit"
            operator.post(f"/v1/tasks/{task}/end", json={"reason": "bench"}).raise_for_status()
            acknowledged = time.perf_counter()
            while gate.post(url, json=asked).json()["decision"] == "permit":
                pass
            samples.append(time.perf_counter() - acknowledged)
    emit("revoke.edge", "remit", 1, samples, note="until the answer of a real edge is no")


Heard: TypeAlias = "asyncio.Queue[tuple[float, bytes]]"


async def subscriber(url: str, key: str, heard: Heard, ready: asyncio.Semaphore) -> None:
    """One stream; when what tells of an end came, and what it was."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(
        f"GET /v1/estate/frames?since=9007199254740992 HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: Bearer {key}\r\n"
        "Accept: text/event-stream\r\n\r\n".encode()
    )
    while b"retry" not in await reader.readline():
        pass
    ready.release()
    with closing(writer):
        while data := await reader.readline():
            if b"ended" in data:
                heard.put_nowait((time.perf_counter(), data[5:]))
    raise ConnectionError("a stream ended")


async def follower(port: int, heard: Heard, ready: asyncio.Semaphore) -> None:
    """One connection with a consumer of the stream, as light as the other; the same of it."""
    stream, subject = stream_of("remit.local")
    inbox = f"_INBOX.{secrets.token_hex(8)}"
    wanted = {"deliver_subject": inbox, "deliver_policy": "new", "ack_policy": "none", "filter_subject": subject,
              "idle_heartbeat": int(SILENCE * 1e9), "num_replicas": 1, "mem_storage": True,
              "inactive_threshold": int(1e9)}  # fmt: skip
    body = json.dumps({"stream_name": stream, "config": wanted})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    hello = json.dumps({"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "raw"})
    create = f"PUB $JS.API.CONSUMER.CREATE.{stream} {inbox}.made {len(body)}\r\n{body}\r\n"
    writer.write(f"CONNECT {hello}\r\nSUB {inbox} 1\r\nSUB {inbox}.made 2\r\n{create}".encode())
    with closing(writer):
        while line := await reader.readline():
            words = line.split()
            if words[0] == b"PING":
                writer.write(b"PONG\r\n")
            if words[0] not in (b"MSG", b"HMSG"):
                continue
            wire = (await reader.readexactly(int(words[-1]) + 2))[:-2]
            if words[0] == b"HMSG":
                wire = wire[int(words[-2]) :]
            if words[2] == b"2":
                assert b"error" not in wire, wire
                ready.release()
            elif b"ended" in wire:
                heard.put_nowait((time.perf_counter(), wire))
    raise ConnectionError("a connection ended")


async def pushed(all_of_it: Estate, keys: list[str], count: int, nats: int = 0) -> None:
    """Rounds of: a task at the edge is ended, and everybody has it."""
    centre = all_of_it.centre
    with centre.http() as http:
        published = jwk.parse_set(http.get("/.well-known/jwks.json").json())

    def check(wire: bytes) -> float:
        began = time.perf_counter()
        signed = statements.read(wire) if nats else Signed(**json.loads(wire))
        statements.parse(signed, Said.FRAME, issuer=centre.url, keys=published)
        return time.perf_counter() - began

    heard: Heard = asyncio.Queue()
    ready, samples = asyncio.Semaphore(0), list[float]()
    async with asyncio.TaskGroup() as group:
        streams = []
        for n in range(count):
            one = follower(nats, heard, ready) if nats else subscriber(centre.url, keys[n // EACH], heard, ready)
            streams.append(group.create_task(one))
            if n % 50 == 49 or n == count - 1:  # all at once some would wait longer than they do
                for _ in range(n % 50 + 1):
                    await ready.acquire()
        await asyncio.sleep(0.5)  # what the stream ended with is not counted
        while not heard.empty():
            heard.get_nowait()
        bot = await asyncio.to_thread(all_of_it.agent)
        beside = all_of_it.at_edge(bot)
        with centre.http("operator") as operator:
            for _ in range(ROUNDS):
                task, token = await asyncio.to_thread(bot.task)
                await asyncio.to_thread(beside.call, task, token)
                await asyncio.to_thread(operator.post, f"/v1/tasks/{task}/end", json={"reason": "bench"})
                acknowledged = time.perf_counter()
                came = [await heard.get() for _ in streams]
                (frame,) = {wire for _, wire in came}
                samples.append(max(at for at, _ in came) - acknowledged + check(frame))
        for stream in streams:
            stream.cancel()
    await asyncio.sleep(3)  # a broker keeps so many consumers, and forgets those that left
    how = "NATS JetStream" if nats else "server-sent events"
    note = f"{how}; until the last of the subscribers, all in one process, has the frame, and one verification"
    emit("revoke.push", "nats" if nats else "remit", count, samples, note=note)


def main() -> None:
    """Whatever was asked for."""
    names = [f"edge-{n}" for n in range(max(SUBSCRIBERS) // EACH + 1)]
    more = "".join(f'[edges.{name}]\nurl = "https://{name}.example"\nowner = "olga"\n' for name in names)
    with (
        tempfile.TemporaryDirectory() as folder,
        nats_server(HUB, leafs=free_port()) as nats,
        estate(Path(folder), stale="5s", more=more, REMIT_NATS=nats.url) as all_of_it,
    ):
        if "decision".startswith(ONLY[:8]) or not ONLY:
            decisions(all_of_it)
        if "revoke.edge".startswith(ONLY):
            revoked_at_an_edge(all_of_it)
        if "revoke.push".startswith(ONLY):
            with all_of_it.centre.http("operator") as http:
                keys = [http.post("/v1/keys", json={"kind": "edge", "name": name}).json()["key"] for name in names]
            for count in SUBSCRIBERS:
                uvloop.run(pushed(all_of_it, keys, count))
                uvloop.run(pushed(all_of_it, keys, count, nats.port))


if __name__ == "__main__":
    main()
