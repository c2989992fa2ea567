"""Several processes on one PostgreSQL, and what growth costs.

`revoke.refused`: from the acknowledged end of a task to the first refusal seen by somebody who asks all the time, at the
same process and at another replica; beside it OpenBao, a token's revocation and its look-up, at one server.
`decision.http`: durable decisions at 64 connections by 1, 2 and 4 workers on one socket.
`log.sequenced`: from the commit of a task's end to its place in the log.
`scale.decision`: one decision in process, on SQLite, among n open tasks with n events and n/10 identities, each of a task that
was not looked at before; the rows are copies of a real one, put straight into the tables. `store.size` is of real decisions,
sequenced and indexed. `restart.ready`: from the start of a process on such a database to its first `/readyz`.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bulk import put
from house import clock, house, now
from measure import ONLY, emit, load, request
from pytest import skip
from tests.issuers import servers
from tests.issuers.rigs.openbao import root
from tests.replicas.estate import estate, free_port
from tests.server import furnished, process
from tests.world import world

from remit.domain import events
from remit.domain.approval import Away
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.decision import Access, Permit
from remit.domain.identity import Identity
from remit.domain.task import Task
from remit.formats import base64url, row_body
from remit.formats.record import pack
from remit.ports import Wake
from remit.store.postgres import PostgresStore
from remit.store.sqlite import SqliteStore
from remit.testing.postgres import NoPostgres, PostgresServer
from remit.verbs.decide import decide
from remit.verbs.propose import Proposal, propose
from remit.web.metrics import Metrics
from remit.work.driver import Driver

ROUNDS = 60
SIZES = (1_000, 10_000, 100_000, 1_000_000)
EVENTS = int(os.environ.get("REMIT_BENCH_EVENTS", "1000000"))
LIST = {"customer": "acme"}
FILES = {
    "remit.toml": "[people.olga]\n",
    "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
    "purposes/pay.toml": 'owner = "olga"\nagents = ["bot"]\nmax_duration = "8h"\nmax_calls = 1000000\n[[grants]]\ntool = "list"\n',
    "tools/list.toml": 'effect = "read"\noutput_trust = "trusted"\n[arguments.customer]\ntype = "text"\n',
    "policies/default.cedar": '@id("within") permit (principal, action, resource);\n',
}


def wanted(*names: str) -> bool:
    return any(name.startswith(ONLY) or ONLY.startswith(name) for name in names)


class Asking(threading.Thread):
    """Asks all the time over one connection; `refused_at` is when the first refusal had been read."""

    def __init__(
        self, port: int, method: str, path: str, body: str, headers: dict[str, str], refused: Callable
    ) -> None:
        super().__init__()
        self._asked, self._refused = (method, path, body, headers), refused
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.refused_at, self.count = 0.0, 0
        self.start()

    def run(self) -> None:
        while not self.refused_at:
            self._http.request(*self._asked)
            answer = self._http.getresponse()
            text = answer.read()
            if self._refused(answer.status, text):
                self.refused_at = time.perf_counter()
            self.count += 1
        self._http.close()


def until_refused(asking: Asking, revoke: Callable[[], Any]) -> float:
    """Seconds from the acknowledgement to the refusal; one that was seen before the acknowledgement was is 0."""
    while asking.count < 3:
        time.sleep(0.002)
    revoke()
    acknowledged = time.perf_counter()
    asking.join(20)
    return max(0.0, asking.refused_at - acknowledged)


def refused_by_remit(postgres: PostgresServer, folder: Path) -> None:
    with estate(postgres, folder) as many:
        first, second = many.start(), many.start()
        keys = many.furnish().keys
        agent = many.agent()
        tasks = [agent.task()[0] for _ in range(2 * ROUNDS)]
        key = {"Authorization": f"Bearer {keys['gate']}", "Content-Type": "application/json"}
        body = json.dumps({"tool": "list", "arguments": LIST})
        note = "end acknowledged → first denial read, by asking all the time"
        with first.http("operator") as operator:
            for subject, at in (("same process", first), ("another replica", second)):
                samples = []
                for _ in range(ROUNDS):
                    end, path = f"/v1/tasks/{tasks[-1]}/end", f"/v1/tasks/{tasks.pop()}/calls"
                    asking = Asking(at.port, "POST", path, body, key, lambda status, text: b'"deny"' in text)
                    samples.append(until_refused(asking, lambda e=end: operator.post(e, json={"reason": "bench"})))
                emit("revoke.refused", subject, 1, samples, note=note)


def refused_by_openbao() -> None:
    try:
        with servers.openbao() as server, root(server) as client:
            samples = []
            for _ in range(ROUNDS):
                made = client.post("/auth/token/create", json={"ttl": "1h"}).raise_for_status().json()["auth"]
                token = {"X-Vault-Token": made["client_token"]}
                asking = Asking(
                    server.port, "GET", "/v1/auth/token/lookup-self", "", token, lambda status, text: status == 403
                )
                revoke = {"token": made["client_token"]}
                samples.append(until_refused(asking, lambda r=revoke: client.post("/auth/token/revoke", json=r)))
            emit("revoke.refused", "openbao", 1, samples, note="token revoked → lookup-self refused; storage in memory")
    except skip.Exception as missing:
        emit("revoke.refused", "openbao", 0, note=f"absent: {missing}")


def workers(postgres: PostgresServer, folder: Path) -> None:
    for count in (1, 2, 4):
        with ExitStack() as stack:
            dsn = stack.enter_context(estate(postgres, folder)).dsn
            options = ("--database", dsn, "--workers", str(count))
            server = furnished(stack.enter_context(process(folder / f"data{count}", *options)))
            bot = server.agent()
            tasks = [bot.task()[0] for _ in range(256)]
            key, host = {"Authorization": f"Bearer {server.keys['gate']}"}, server.url.removeprefix("http://")
            body = json.dumps({"tool": "list", "arguments": LIST})
            asked = [request(f"/v1/tasks/{tasks[i % 256]}/calls", host, body, key) for i in range(20_000)]
            note = "PostgreSQL with fsync on the same machine; so many workers on one socket"
            load("decision.http", f"remit-postgres-{count}", server.url, asked, 64, 6, note)


async def sequenced(store: Any, subject: str) -> None:
    w = await world(store, now=clock())
    driver, samples = Driver(w.clock, Metrics()), []
    driver.start(w.env, store, "bench/log", store.forget_spent)
    await asyncio.sleep(0.5)
    call = Call(Caller(CallerKind.SYSTEM, "bench"), clock())
    with store.woken(Wake.SEQUENCED) as woken:
        for i in range(ROUNDS):
            await asyncio.sleep(0.04 + random.random() * 0.1)
            size, _ = await store.head()
            because = events.TaskEnded(f"tsk_{i}", "bot", "revoked", "bench")
            await store.commit(Change(because, call).put(Away(f"a{i}", "g", 5, 9, "r"), was=None))
            began = time.perf_counter()
            while (await store.head())[0] == size:
                woken.clear()
                await asyncio.wait_for(woken.wait(), 1)
            samples.append(time.perf_counter() - began)
    await driver.stop()
    await store.close()
    emit("log.sequenced", subject, 1, samples, note="an urgent event: committed → it has its place in the log")


async def grown(folder: Path) -> None:
    """One database that grows; then what its real events take, and how long it takes to start on it."""
    path, small, have = folder / "remit.db", folder / "small", 0
    small.mkdir()
    async with house(folder, FILES, {}) as found:
        call = await found.agent()
        opened = await propose(found.env, now(call), Proposal("pay", "bench", {}))
        task = await found.env.store.get(Task, opened.id)
        identity = await found.env.store.get(Identity, call.caller.jkt)
        await asyncio.sleep(1)  # everything has its place
    for size in SIZES if wanted("scale.decision", "store.size") else SIZES[:1]:
        fill(path, task, identity, have, size)
        if not have:
            copied(path, small / "remit.db")
        have = size
        async with house(folder, FILES, {}) as large, house(small, FILES, {}) as beside:
            walls, ratio = await compared(large, beside, call, size)
        note = "durable; SQLite; bulk-inserted copies of a real task and its event, a tenth as many identities"
        emit("scale.decision", "remit", size, walls, value=ratio, unit="× the CPU of n=1000, asked in turns", note=note)
    if wanted("store.size"):
        await sized(folder, call)
    if wanted("restart.ready"):
        started(folder)


async def compared(large: Any, small: Any, call: Any, size: int) -> tuple[list[float], float]:
    """In turns, so that whatever else the machine does meets both: seconds in the large one, and the ratio of CPU."""
    walls, used = [], ([], [])
    for one, other in zip(random.sample(range(size), 600), random.sample(range(SIZES[0]), 600), strict=True):
        for which, (there, at) in enumerate(((large, one), (small, other))):
            began, cpu = time.perf_counter(), time.process_time()
            answer = await decide(there.env, now(call), Access(f"tsk_b{at:031x}", "list", LIST))
            used[which].append(time.process_time() - cpu)
            if which == 0:
                walls.append(time.perf_counter() - began)
            assert isinstance(answer, Permit)
    return walls, round(sorted(used[0])[300] / sorted(used[1])[300], 3)


def copied(path: Path, to: Path) -> None:
    with sqlite3.connect(path) as db, sqlite3.connect(to) as other:
        db.backup(other)


async def sized(folder: Path, call: Any) -> None:
    """Bytes of a million decisions, from 5,000 real ones with their places, tiles and words."""
    async with house(folder, FILES, {}) as found:
        before, log = pages(folder / "remit.db"), found.env.store
        (size, _), at = await log.head(), now(call)
        for first in range(0, 5_000, 50):
            ids = [f"tsk_b{n:031x}" for n in range(first, first + 50)]
            await asyncio.gather(*(decide(found.env, at, Access(one, "list", LIST)) for one in ids))
        while (await log.head())[0] < size + 5_000 or await log.indexed() < (await log.head())[0]:
            await asyncio.sleep(0.1)
        bytes_ = (pages(folder / "remit.db") - before) / 5_000 * 1_000_000
    note = "tables, leaves, row bodies, tiles and the index of words; from 5,000 real decisions of as many tasks"
    emit("store.size", "remit", 1_000_000, value=round(bytes_), unit="bytes", note=note)


def pages(path: Path) -> int:
    with sqlite3.connect(path) as db:
        return db.execute("PRAGMA page_count").fetchone()[0] * db.execute("PRAGMA page_size").fetchone()[0]


def started(folder: Path) -> None:
    """A real `remit up` on what has grown, with as many more events as REMIT_BENCH_EVENTS says."""
    with sqlite3.connect(folder / "remit.db") as db:
        db.execute("PRAGMA synchronous=OFF")
        (have,) = db.execute("SELECT count(*) FROM events").fetchone()
        leaf = os.urandom(250).hex().encode()
        for first in range(have, EVENTS, 50_000):
            more = [(leaf, b"", 2 * 10**9 + n) for n in range(first, min(EVENTS, first + 50_000))]
            db.executemany("INSERT INTO events (leaf, bodies, log_index) VALUES (?, ?, ?)", more)
            db.commit()
    samples = []
    for _ in range(5):
        began, port = time.perf_counter(), free_port()
        with process(folder, "--port", str(port), REMIT_ROOT_KEY=base64url.encode(b"r" * 32)) as running:
            with running.http() as client:
                while client.get("/readyz").status_code != 200:
                    time.sleep(0.005)
            samples.append(time.perf_counter() - began)
    note = "process started → ready; SQLite; events beyond those of the tasks are bare, of 500 bytes"
    emit("restart.ready", "remit", max(have, EVENTS), samples, note=note)


def fill(path: Path, task: Task, identity: Identity, start: int, end: int) -> None:
    """Open tasks `start` … `end`-1, an event of each, a tenth as many identities; their places are beyond the real log."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA cache_size=-200000")
        (leaf,) = db.execute("SELECT leaf FROM events WHERE instr(leaf, '\"TaskProposed\"') LIMIT 1").fetchone()
        for first in range(start, end, 10_000):
            tasks = [replace(task, id=f"tsk_b{at:031x}") for at in range(first, min(end, first + 10_000))]
            put(db, tasks)
            put(db, [replace(identity, jkt=f"k{at}") for at in range(first, min(end, first + 10_000), 10)])
            told = [(leaf, pack([row_body.encode(one)]), 10**9 + first + n) for n, one in enumerate(tasks)]
            db.executemany("INSERT INTO events (leaf, bodies, log_index) VALUES (?, ?, ?)", told)
            db.commit()
        db.execute("ANALYZE")


def main() -> None:
    """What was asked for."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if wanted("scale.decision", "store.size", "restart.ready"):
            (folder / "grown").mkdir()
            asyncio.run(grown(folder / "grown"))
        if wanted("log.sequenced"):
            asyncio.run(sequenced(SqliteStore.open(folder / "sequenced" / "remit.db"), "sqlite"))
        if wanted("revoke.refused"):
            refused_by_openbao()
        if wanted("revoke.refused", "decision.http", "log.sequenced"):
            try:
                postgres = stack.enter_context(PostgresServer(durable=True, options=("log_statement=none",)))
            except NoPostgres as missing:
                emit(ONLY or "decision.http", "remit-postgres", 0, note=f"absent: {missing}")
                return
            if wanted("log.sequenced"):
                with estate(postgres, folder) as many:
                    asyncio.run(_sequenced_there(many.dsn))
            if wanted("revoke.refused"):
                refused_by_remit(postgres, folder)
            if wanted("decision.http"):
                workers(postgres, folder)


async def _sequenced_there(dsn: str) -> None:
    await sequenced(await PostgresStore.open(dsn), "postgres")


main()
