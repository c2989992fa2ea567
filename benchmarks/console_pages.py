"""Every screen of the console, with 1,000 and with 100,000 tasks in the store (REMIT_BENCH_TASKS for others): one line a
screen, over HTTP, on SQLite, for an operator and for a person who began twenty of the tasks.

Nine tasks of ten have ended; each has a lease, and a proposal and three decisions in the log, which is sequenced and
indexed by the server itself.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from measure import emit

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.server import Server, furnished, process

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.chain import Chain, Hop, Principal, PrincipalKind
from remit.domain.change import Change
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.formats.log_words import VERSION
from remit.formats.record import KIND_OF, encode
from remit.formats.row_body import decode

SIZES = [1_000, 100_000] if not os.environ.get("REMIT_BENCH_TASKS") else [int(os.environ["REMIT_BENCH_TASKS"])]
TIMES = 40


def made(number: int, like: Task) -> Iterator[tuple[Any, Any]]:
    """A task's events, the first two with the row that they write."""
    now = like.opened_at + number
    name, agent = f"tsk_{random.getrandbits(128):032x}", ("bot", "lead", "other")[number % 3]
    dana = number % 5_000 == 7 or number < 20
    who = Principal(PrincipalKind.PERSON, "dana") if dana else Principal(PrincipalKind.AGENT, agent)
    purpose = {"bot": "pay", "lead": "whole", "other": "part"}[agent]
    over = number % 10 != 0
    task = replace(like, id=name, agent=agent, purpose=purpose, chain=Chain(who, (Hop(agent, name),)), opened_at=now)
    task = replace(task, goal=f"goal number {number}", deadline=now + 10**9, parent="", version=0)
    if over:
        task = replace(task, state=TaskState.CLOSED, ended_at=now, settled_at=now)
    lease = Lease(f"lse_{name[4:]}", name, agent, "rs", "tokens", f"remit_{name[4:]}", now, now, now + 10**9)
    lease = replace(lease, state=LeaseState.ENDED if over else LeaseState.LIVE, minted_at=now)
    digest = f"sha256:{number:064x}"
    begun = events.TaskProposed(name, agent, purpose, "r", str(who), digest, digest, now, digest, ("within",))
    yield begun, task
    yield events.LeaseReserved(lease.id, name, agent, "rs", "tokens", lease.handle, now, ("within",)), lease
    for n in range(3):
        word = "deny" if (number + n) % 97 == 0 else "permit"
        yield (
            events.AccessDecided(
                name,
                agent,
                "list",
                digest,
                word,
                ("within_policy",),
                ("within",),
                (),
                "",
                digest,
                "trusted",
                "internal",
                "stated",
                "none",
            ),
            None,
        )


def fill(path: Path, task: str, size: int) -> int:
    """Rows and unsequenced events, straight into the tables; returns how many events there are."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous=OFF")
        (body,) = db.execute("SELECT body FROM tasks WHERE key = ?", (task,)).fetchone()
        like = decode(Task, body)
        for number in range(size):
            for because, row in made(number, like):
                change = Change(because, Call(Caller(CallerKind.AGENT, like.agent), like.opened_at + number))
                change = change.put(row, was=None) if row is not None else change
                encoded = encode(change)
                db.execute("INSERT INTO events (leaf, bodies) VALUES (?, ?)", (encoded.leaf, b""))
                for put in encoded.puts:
                    names = ", ".join(("key", "version", "body", "due", *KIND_OF[type(row)].columns))
                    marks = ", ".join("?" * (4 + len(put.columns)))
                    values = (put.key, put.version, put.body, 0, *put.columns)
                    db.execute(f"INSERT INTO {put.kind.table} ({names}) VALUES ({marks})", values)
        return int(db.execute("SELECT count(*) FROM events").fetchone()[0])


def begin(data: Path) -> tuple[Server, str, str, str]:
    """A server's data, with one real task in it."""
    with process(data) as running:
        server = furnished(running)
        bot = server.agent()
        task, token = bot.task(goal="a real one")
        for _ in range(40):
            bot.call(task, token)
        bot.call(task, token, "pay", {"customer": "acme", "invoice": 1, "amount": "1.00"})
        lease = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}).json()["id"]
        return server, task, lease, token


def settled(server: Server, path: Path, count: int) -> None:
    """Wait until every event has its place, and its words are found."""
    while True:
        with sqlite3.connect(path) as db:
            indexed = db.execute("SELECT max(size) FROM log_indexed WHERE id = ?", (VERSION,)).fetchone()
        if indexed and indexed[0] >= count:
            return
        time.sleep(0.5)


def measure(server: Server, size: int, who: str, subject: str, paths: dict[str, str]) -> None:
    http = server.http(who)
    http.headers["Accept"] = "text/html"
    for name, path in paths.items():
        samples = []
        for _ in range(TIMES):
            began = time.perf_counter()
            answer = http.get(path)
            samples.append(time.perf_counter() - began)
            assert answer.status_code == 200, (path, answer.status_code)
        emit("console.page", f"{name}{subject}", size, samples, note=f"{len(answer.content):,} bytes")


def main() -> None:
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            known, task, lease, _ = begin(data)
            count = fill(data / "remit.db", task, size)
            with process(data) as server:
                server.keys |= known.keys
                settled(server, data / "remit.db", count)
                everybodys = {
                    "now": "/console",
                    "tasks": "/console/tasks",
                    "tasks, open": "/console/tasks?state=open",
                    "agents": "/console/agents",
                    "agent": "/console/agents/bot",
                    "leases": "/console/leases",
                    "catalogue": "/console/catalogue",
                    "purpose": "/console/purposes/pay",
                    "tool": "/console/tools/pay",
                }
                readers = {
                    "task": f"/console/tasks/{task}",
                    "leases, ended": "/console/leases?state=ended",
                    "lease": f"/console/leases/{lease}",
                    "log": "/console/log",
                    "log, denials": "/console/log?agent=bot&decision=deny",
                    "event": "/console/log/30",
                    "verify": "/console/log/verify",
                    "playground": "/console/playground",
                    "settings": "/console/settings",
                }
                measure(server, size, "operator", "", {**everybodys, **readers})
                measure(server, size, "dana", ", for a person", everybodys)
                measure(server, size, "olga", ", for who answers for all", everybodys)


main()
