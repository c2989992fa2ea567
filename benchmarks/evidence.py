"""A report of evidence on every framework over a log of 100,000 and of 1,000,000 events, on SQLite.

Of what a busy server's log has: decisions, tasks, credentials that are minted and die. The log is sequenced and signed
by Remit's own sequencer, so a proof is a real one; it is verified too, by the file alone and with the whole log.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from measure import emit
from tests.world import world

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.formats import tlog
from remit.formats.log_words import VERSION, number, words
from remit.formats.record import encode
from remit.govern.evidence import page, proof
from remit.govern.evidence.frameworks import NAMES
from remit.govern.evidence.report import Asked, report
from remit.govern.evidence.verify import recounted, verify
from remit.store.sqlite import SqliteStore
from remit.work import sequence as sequencer

SIZES = [100_000, 1_000_000] if not os.environ.get("REMIT_BENCH_EVENTS") else [int(os.environ["REMIT_BENCH_EVENTS"])]
LOG = "bench/log"
AGENT = Caller(CallerKind.AGENT, "bot")
sequencer.BATCH = 20_000  # only here: to have the log sooner


def leaf(place: int) -> bytes:
    """One event's bytes: six decisions in ten, and what else a task brings with it."""
    task, lease = f"tsk_{place // 10:032x}", f"lse_{place // 10:032x}"
    match place % 10:
        case 0:
            because = events.TaskProposed(
                task, "bot", "pay", "sha256:r", "person:dana", "goal", "{}", 1_790_200_000_000, "sha256:c", ("within",)
            )
        case 1:
            because = events.LeaseMinted(lease, task)
        case 2:
            because = events.LeaseEnded(lease, task)
        case 3:
            because = events.TaskSettled(task, 1)
        case _:
            word = "deny" if place % 1009 == 0 else "hold" if place % 101 == 0 else "permit"
            reasons = {"deny": ("out_of_scope",), "hold": ("needs_approval",), "permit": ("within_policy",)}[word]
            because = events.AccessDecided(
                task, "bot", f"tool{random.randrange(50)}", f"sha256:{place:064x}", word, reasons, ("within-purpose",),
                ("ASI02",), "", f"sha256:{1:064x}", "trusted", "internal", "stated", "none",
            )  # fmt: skip
    return encode(Change(because, Call(AGENT, 1_790_000_000_000 + place))).leaf


def fill(path: Path, start: int, end: int, leaf: Callable[[int], bytes] = leaf) -> None:
    """Events straight into the tables, in the order that the sequencer gives them, with their words."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous=OFF")
        for first in range(start, end, 10_000):
            leaves = [leaf(place) for place in range(first, first + 10_000)]
            db.executemany("INSERT INTO events (leaf, bodies) VALUES (?, ?)", [(text, b"") for text in leaves])
            found = [(number(word), first + n) for n, text in enumerate(leaves) for word in sorted(words(text))]
            db.executemany("INSERT OR IGNORE INTO log_words (word, place) VALUES (?, ?)", found)
        db.execute("INSERT OR REPLACE INTO log_indexed (id, size) VALUES (?, ?)", (VERSION, end))


async def measure(path: Path, size: int) -> None:
    """A report, one with its proof, and both ways to check it."""
    store = SqliteStore.open(path)
    w = await world(store, now=1_790_000_000_000)
    while await sequencer.sequence(store, w.env.signer, LOG):
        pass
    call = Call(Caller(CallerKind.AUDITOR, "anna"), 1_790_100_000_000)
    samples, stalls = [], []
    for _ in range(10):
        began = time.perf_counter()
        _, worst = await watched(report(w.env, store, LOG, Asked(NAMES, 0), call.now))
        samples.append(time.perf_counter() - began)
        stalls.append(worst)
    emit("evidence.report", "all frameworks", size, samples)
    emit("evidence.report", "longest time that nothing else ran", size, stalls)
    samples = []
    for _ in range(5):
        began = time.perf_counter()
        await report(w.env, store, LOG, Asked(("asi",), 1_790_000_000_000 + size // 2), call.now)
        samples.append(time.perf_counter() - began)
    emit("evidence.report", "one framework, since the middle", size, samples)
    turning = asyncio.create_task(sequencing(store, w))
    began = time.perf_counter()
    found = await proof.proved(w.env, store, LOG, call, Asked(NAMES, 0))
    emit("evidence.report", "with its proof", size, [time.perf_counter() - began])
    turning.cancel()
    data = json.dumps(found).encode()
    emit("evidence.report", "file", size, value=len(data), unit="bytes")
    emit("evidence.report", "page", size, value=len(page.render(found).encode()), unit="bytes")
    key = tlog.note_key(LOG, w.env.signer.public("log")[0])
    began = time.perf_counter()
    good = verify(data, key)
    emit("evidence.verify", "by the file", size, [time.perf_counter() - began])
    end, note = await store.head()
    entries = await store.entries(0, end)
    began = time.perf_counter()
    recounted(good, entries, tlog.parse_checkpoint(note, [key], origin=LOG))
    emit("evidence.verify", "with the log", size, [time.perf_counter() - began])
    await store.close()


async def watched(work):
    """Its result, and the longest that the loop ran nothing else meanwhile (s)."""
    worst, last = 0.0, time.perf_counter()

    async def ticks():
        nonlocal worst, last
        while True:
            now = time.perf_counter()
            worst, last = max(worst, now - last), now
            await asyncio.sleep(0)

    turning = asyncio.create_task(ticks())
    found = await work
    worst = max(worst, time.perf_counter() - last)
    turning.cancel()
    return found, worst


async def sequencing(store, w):
    while True:
        await sequencer.sequence(store, w.env.signer, LOG)
        await asyncio.sleep(0.01)


def main() -> None:
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "remit.db"
            asyncio.run(SqliteStore.open(path).close())
            fill(path, 0, size)
            asyncio.run(measure(path, size))


if __name__ == "__main__":
    main()
