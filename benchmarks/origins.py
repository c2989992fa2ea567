"""`origin.observe`, `origin.decide`: a result is reported, a call's values are traced among n results; `memory.tasks`.

Over HTTP, durable and logged, one at a time. `memory.tasks` is how much the server grows by 1,000 open tasks that have
each read one result of 2 kB, in MB.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from measure import ONLY, emit, timed

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.server import CATALOGUE, Server, furnished, process

RESULTS, TASKS = (0, 1, 10, 100), 1_000
ROW = {
    "id": 7,
    "to": "GB29NWBK60161331926819",
    "amount": 120.5,
    "note": "paid by ann@x.example on 2026-05-20 for the move",
}
SIZES = {500: 4, 2_000: 16, 20_000: 160}


def reports(server: Server) -> None:
    """Results of some sizes, and calls after some of them."""
    bot, http = server.agent(), server.http("gate")
    for size, rows in SIZES.items():
        task, _ = bot.task()
        body = {"tool": "list", "content": [{**ROW, "id": i, "amount": i * 1.5} for i in range(rows)]}
        note = f"about {len(json.dumps(body))} bytes of JSON"
        samples = timed(lambda: http.post(f"/v1/tasks/{task}/observations", json=body).raise_for_status(), 100)
        emit("origin.observe", "remit", size, samples, 100 / sum(samples), note)
    for count in RESULTS:
        task, _ = bot.task()
        for i in range(count):
            http.post(f"/v1/tasks/{task}/observations", json={"tool": "list", "content": [{**ROW, "id": i}] * 16})
        call = {"tool": "list", "arguments": {"customer": "acme"}}
        samples = timed(lambda: http.post(f"/v1/tasks/{task}/calls", json=call).raise_for_status(), 300)
        emit("origin.decide", "remit", count, samples, 300 / sum(samples), "n: results the task has read")


def resident(server: Server) -> float:
    """MB."""
    status = Path(f"/proc/{server.child.pid}/status").read_text()  # type: ignore[attr-defined]
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def memory(server: Server) -> None:
    """Before and after."""
    bot, http = server.agent(), server.http("gate")
    body = {"tool": "list", "content": [{**ROW, "id": i, "amount": i * 1.5} for i in range(SIZES[2_000])]}

    def some(count: int) -> None:
        for _ in range(count):
            task, _ = bot.task()
            http.post(f"/v1/tasks/{task}/observations", json=body).raise_for_status()
            http.post(f"/v1/tasks/{task}/calls", json={"tool": "list", "arguments": {"customer": "acme"}})

    some(50)
    time.sleep(1)
    before = resident(server)
    some(TASKS)
    time.sleep(1)
    note = f"the server has {before:.0f} MB before"
    emit("memory.tasks", "remit", TASKS, value=round(resident(server) - before, 1), unit="MB", note=note)


def main() -> None:
    """One server."""
    with tempfile.TemporaryDirectory() as folder, process(Path(folder) / "data") as running:
        server = furnished(running, dict(CATALOGUE))
        if any(name.startswith(ONLY) or ONLY.startswith("origin") for name in ("origin.observe", "origin.decide")):
            reports(server)
        if "memory.tasks".startswith(ONLY):
            memory(server)


main()
