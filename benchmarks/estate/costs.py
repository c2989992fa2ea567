"""What one message of the estate costs the centre and an edge, in processor time of one core: what `model.py` is fed with.

Measured from the real code, in a process of its own where a kernel is involved. `costs.json` beside it is what this gave once,
the less disturbed of two runs, so that the plots are the same on every machine (`--save` takes it anew).
"""

from __future__ import annotations

import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import msgspec
from measure import emit

from remit.domain.catalogue import CatalogueFiles
from remit.formats import jwk, jws, record, signing_key
from remit.formats.estate import Said, Signed, Statement, encode, parse

HERE = Path(__file__).parent
STREAMS = 800
ROUNDS = 10


def cpu(action: Callable[[], Any], count: int) -> float:
    """µs of processor time of one call: the least of three rounds, because others are busy here."""
    found = []
    for _ in range(3):
        before = time.process_time()
        for _ in range(count):
            action()
        found.append((time.process_time() - before) / count * 1e6)
    return min(found)


def statements() -> dict[str, float]:
    """Signing and verifying, and the JSON around it."""
    key = signing_key.generate("ES256")
    signing = jws.SigningKey(key.public.kid, "ES256", key.sign)
    keys = [jwk.parse({**key.public.jwk, "kid": key.public.kid, "alg": "ES256", "use": "sig"})]
    frame = Statement(Said.FRAME, 10, 11, 0, {"ended": [["tsk_" + "0" * 32, "revoked"]]})
    beat = Statement(Said.BEAT, 0, 11, 0, {}, "edge", "n" * 32)
    signed, answered = encode(frame, "https://remit.test", signing), encode(beat, "https://remit.test", signing)

    def served() -> None:
        asked = json.loads(json.dumps({"nonce": "n" * 32, "seen": {"edge": "e", "size": 1, "held": 100, "backlog": 0}}))
        found = encode(Statement(Said.BEAT, 0, 11, 0, {}, "edge", asked["nonce"]), "https://remit.test", signing)
        json.dumps({"statement": found.statement, "body": found.body, "received": 1})

    def verified(one: Signed, said: Said, **more: str) -> Callable[[], Any]:
        return lambda: parse(one, said, issuer="https://remit.test", keys=keys, **more)

    return {
        "frame_sign": cpu(lambda: encode(frame, "https://remit.test", signing), 400),
        "frame_verify": cpu(verified(signed, Said.FRAME), 400),
        "beat_verify": cpu(verified(answered, Said.BEAT, edge="edge", nonce="n" * 32), 400),
        "beat_sign": cpu(served, 400),
        "frame_bytes": float(len(signed.statement) + len(signed.body) + 40),
        "beat_bytes": float(len(answered.statement) + len(answered.body) + 260),
    }


SERVER = """
import asyncio, json, resource, sys, time
import uvicorn, uvloop
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

listening, frame = set(), ("data: " + "x" * 480 + "\\n\\n").encode()
began, sent = [0.0], []

async def stream(request):
    queue = asyncio.Queue(64)
    listening.add(queue)
    async def told():
        yield b": here\\n\\n"
        while True:
            yield await queue.get()
            sent.append(time.perf_counter() - began[0])  # this one is with the kernel
    return StreamingResponse(told(), media_type="text/event-stream")

async def tell(request):
    sent.clear()
    began[0] = time.perf_counter()
    for queue in listening:
        queue.put_nowait(frame)
    return JSONResponse({"listening": len(listening)})

async def used(request):
    rss = int(open("/proc/self/statm").read().split()[1]) * 4096
    return JSONResponse({"cpu": time.process_time(), "rss": rss, "sent": sorted(sent)})

async def beat(request):
    await request.json()
    return JSONResponse({"statement": "x" * 420, "body": "{}", "received": 1})

app = Starlette(routes=[Route("/stream", stream), Route("/tell", tell), Route("/used", used), Route("/beat", beat, methods=["POST"])])
sock = int(sys.argv[1])
config = uvicorn.Config(app, fd=sock, log_level="warning", access_log=False, loop="uvloop", http="httptools", lifespan="off")
uvicorn.Server(config).run()
"""


def pushes() -> dict[str, float]:
    """One frame to one of many streams, a small request, and what a stream holds: uvicorn and Starlette, over sockets."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    port = listener.getsockname()[1]
    os.set_inheritable(listener.fileno(), True)
    command = [sys.executable, "-c", SERVER, str(listener.fileno())]
    server = subprocess.Popen(command, pass_fds=[listener.fileno()])
    try:
        ask(port, "/used")
        before = ask(port, "/used")["rss"]
        streams = [opened(port) for _ in range(STREAMS)]
        for one in streams:
            read_until(one, b": here")
        held = (ask(port, "/used")["rss"] - before) / STREAMS
        started = ask(port, "/used")["cpu"]
        rounds: list[list[float]] = []
        for _ in range(ROUNDS):
            ask(port, "/tell")
            for one in streams:
                read_until(one, b"xxx\n\n")
            rounds.append(ask(port, "/used")["sent"])
        told = (ask(port, "/used")["cpu"] - started) / (ROUNDS * STREAMS)
        keep = socket.create_connection(("127.0.0.1", port))
        body = json.dumps({"nonce": "n" * 32, "seen": {"edge": "e", "size": 1, "held": 100}}).encode()
        head = b"POST /beat HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + b"k" * 43 + b"\r\ncontent-length: "
        request = head + str(len(body)).encode() + b"\r\n\r\n" + body
        started = ask(port, "/used")["cpu"]
        for _ in range(500):
            keep.sendall(request)
            read_until(keep, b"}")
        asked = (ask(port, "/used")["cpu"] - started) / 500
        best = min(rounds, key=lambda one: one[-1])  # the round in which others disturbed least
        seen = {"measured_p50": best[len(best) // 2] * 1e6, "measured_max": best[-1] * 1e6}
        return {"push": told * 1e6, "request": asked * 1e6, "stream_bytes": held, **seen}
    finally:
        server.kill()
        server.wait()


def ask(port: int, path: str) -> Any:
    for _ in range(200):
        try:
            with socket.create_connection(("127.0.0.1", port)) as one:
                one.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
                data = b""
                while chunk := one.recv(65536):
                    data += chunk
                if data:
                    return json.loads(data.rsplit(b"\r\n\r\n", 1)[1])
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the server does not answer")


def opened(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
    return one


def read_until(one: socket.socket, mark: bytes) -> None:
    data = b""
    while mark not in data:
        data += one.recv(65536)


def handshakes() -> dict[str, float]:
    """The server's side of a full TLS 1.3 handshake with an ECDSA certificate, without a kernel in between."""
    with tempfile.TemporaryDirectory() as folder:
        cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
        make = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]
        make += ["-subj", "/CN=centre", "-keyout", str(key), "-out", str(cert)]
        subprocess.run(make, check=True, capture_output=True)
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(cert, key)
        asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
        spent = 0.0
        for _ in range(200):
            up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
            client, server = asking.wrap_bio(down, up), serving.wrap_bio(up, down, server_side=True)
            done = [False, False]
            while not all(done):
                for place, side in enumerate((client, server)):
                    before = time.process_time()
                    try:
                        side.do_handshake()
                        done[place] = True
                    except ssl.SSLWantReadError:
                        pass
                    spent += (time.process_time() - before) * place
        return {"handshake": spent / 200 * 1e6}


def catalogue() -> dict[str, float]:
    """What a KB of a catalogue costs a replica: its row is read and written out as JSON for each who asks."""
    files = tuple((f"tools/t{number}.toml", 'effect = "read"\n' + "x" * 980) for number in range(200))
    body = msgspec.json.encode(CatalogueFiles("sha256:0", files))
    each = cpu(lambda: msgspec.json.encode({"files": dict(record.decode(CatalogueFiles, body).files)}), 50)
    return {"catalogue_kb": each / (len(body) / 1024)}


def database() -> dict[str, float]:
    """A point read and a small durable write at PostgreSQL, in its own processor time (the disk is not waited for)."""
    import psycopg

    from remit.testing.postgres import PostgresServer

    with PostgresServer() as server, psycopg.connect(server.dsn(), autocommit=True, prepare_threshold=1) as db:
        db.execute("CREATE TABLE rows (key text PRIMARY KEY, version bigint, body bytea)")
        db.execute("CREATE TABLE events (number bigserial PRIMARY KEY, leaf bytea)")
        db.execute(
            "INSERT INTO rows SELECT 'tsk_' || n, 1, decode(repeat('ab', 500), 'hex') FROM generate_series(1, 20000) n"
        )
        pid = db.info.backend_pid

        def spent() -> float:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * 1e6

        def each(action: Callable[[int], Any], count: int) -> float:
            before = spent()
            for number in range(count):
                action(number)
            return (spent() - before) / count

        def write(number: int) -> None:
            with db.transaction():
                db.execute("UPDATE rows SET version = version + 1 WHERE key = %s", (f"tsk_{number % 20000 + 1}",))
                db.execute("INSERT INTO events (leaf) VALUES (%s)", (b"x" * 400,))

        read = each(
            lambda n: db.execute("SELECT body FROM rows WHERE key = %s", (f"tsk_{n % 20000 + 1}",)).fetchone(), 8000
        )
        return {"db_read": read, "db_write": each(write, 3000)}


def main() -> None:
    found = {**statements(), **pushes(), **handshakes(), **catalogue(), **database()}
    units = {"frame_bytes": "bytes", "beat_bytes": "bytes", "stream_bytes": "bytes"}
    for name, value in found.items():
        emit(f"estate.cost.{name}", "remit", 1, value=round(value, 1), unit=units.get(name, "µs of processor"))
    if "--save" in sys.argv:
        (HERE / "costs.json").write_text(json.dumps({k: round(v, 1) for k, v in found.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
