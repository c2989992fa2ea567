"""How fast sinks are given the log, how late an event is there, and what that costs whoever asks for a decision.

`out.deliver`: 20,000 events that wait, until the last was acknowledged, with decisions idle. `out.lag`: from an event's own
time until its sink has it, one a time. `out.cost`: the server's processor for one decision, and its latency, with no
sink, with one that follows, and with one that is away. The receiver is a thread of this process.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from measure import ONLY, drive, emit, request

sys.path.insert(0, str(Path(__file__).parents[1]))
from over_http import _cpu
from tests.server import CATALOGUE, eventually, furnished, process
from tests.sinks import Collector, places

WAITING, CALLS, LAGS = 20_000, 1_500, 60
BODY = json.dumps({"tool": "list", "arguments": {"customer": "acme"}})


def entry(kind: str, form: str, url: str) -> str:
    more = "" if kind == "file" else f'url = "{url}"\nallow_private_network = true\n'
    return f'[out.sink]\nkind = "{kind}"\nformat = "{form}"\n{more}'


def with_sink(server, text: str) -> None:
    files = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + text}
    server.http("operator").post("/v1/catalogue", json={"files": files}).raise_for_status()


def calls(server, count: int) -> list[str]:
    bot = server.agent()
    tasks = [bot.task()[0] for _ in range(64)]
    key, host = {"Authorization": f"Bearer {server.keys['gate']}"}, server.url.removeprefix("http://")
    return [request(f"/v1/tasks/{tasks[i % 64]}/calls", host, BODY, key) for i in range(count)]


def shown(server):
    (one,) = server.http("operator").get("/v1/out").json()["items"]
    return one


def deliver(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder, process(Path(folder) / "data") as running:
        server = furnished(running)
        drive(server.url, calls(server, WAITING), 64, 120)
        eventually(lambda: server.http("operator").get("/v1/log").json()["size"], lambda n: n > WAITING, 60)
        for kind, form in (("file", "remit"), ("file", "ocsf"), ("http", "remit"), ("http", "ocsf"), ("otlp", "ocsf")):
            with_sink(server, entry(kind, form, url).replace("out.sink", f"out.{kind}-{form}"))
            began = time.perf_counter()
            eventually(lambda: shown(server), lambda one: one["position"] > WAITING, 120)
            per_s = WAITING / (time.perf_counter() - began)
            emit("out.deliver", f"{kind}-{form}", 256, per_s=per_s, note="events that waited, in batches of 256")


def lag(collector: Collector) -> None:
    with tempfile.TemporaryDirectory() as folder, process(Path(folder) / "data") as running:
        server = furnished(running)
        with_sink(server, entry("http", "remit", collector.url))
        samples = []
        asked = calls(server, LAGS)
        eventually(lambda: shown(server), lambda one: not one["behind"])
        for one in asked:
            before = len(collector.taken)
            drive(server.url, [one], 1, 5)
            eventually(lambda before=before: len(collector.taken), lambda n, before=before: n > before)
            arrived = time.time()
            decided = [leaf for _, leaf in places(collector.taken[-1].splitlines()) if b"AccessDecided" in leaf]
            samples += [arrived - json.loads(decided[-1])["at"] / 1000] if decided else []
        emit("out.lag", "http", 1, samples, note="from an event's time until its sink has it")


def cost(url: str) -> None:
    """In turns, so that what else the machine does meets all of them."""
    found: dict[str, list[tuple[float, list[float]]]] = {}
    sinks = {"no-sink": "", "http-remit": entry("http", "remit", url), "http-ocsf": entry("http", "ocsf", url)}
    sinks["away"] = entry("http", "ocsf", "http://127.0.0.1:9")
    with tempfile.TemporaryDirectory() as folder, process(Path(folder) / "data") as running:
        server = furnished(running)
        for turn in range(4):
            for subject, text in sinks.items():
                with_sink(server, text.replace("out.sink", f"out.{subject}"))
                asked = calls(server, CALLS)
                time.sleep(0.5)
                before = _cpu(server)
                done = drive(server.url, asked, 8, 60)
                spent = (_cpu(server) - before) / len(done["samples"]) * 1e6
                if turn:  # the first warms up
                    found.setdefault(subject, []).append((spent, done["samples"]))
                if text and subject != "away":
                    eventually(lambda: shown(server), lambda one: not one["behind"], 60)
    for subject, runs in found.items():
        spent = sorted(one for one, _ in runs)[len(runs) // 2]
        samples = [sample for _, some in runs for sample in some]
        emit("out.cost", subject, 8, samples, value=round(spent, 1), unit="us", note="CPU of the server a decision")


class Yes(BaseHTTPRequestHandler):
    """Says yes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


yes = ThreadingHTTPServer(("127.0.0.1", 0), Yes)
threading.Thread(target=yes.serve_forever, daemon=True).start()
at = f"http://127.0.0.1:{yes.server_port}"
if "out.deliver".startswith(ONLY):
    deliver(at)
if "out.lag".startswith(ONLY):
    with Collector() as running_collector:
        lag(running_collector)
if "out.cost".startswith(ONLY):
    cost(at)
yes.shutdown()
