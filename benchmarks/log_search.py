"""Searching a log of 100,000 and of 1,000,000 events (REMIT_BENCH_EVENTS for more): by the index, on SQLite.

Of a thousand tasks' decisions, in the bytes that decisions have; the indexing is Remit's own, and timed too.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import tempfile
import time
from pathlib import Path

from measure import emit

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.formats.log_words import VERSION, number, words
from remit.formats.record import encode
from remit.govern.search import search
from remit.store.sqlite import SqliteStore

SIZES = [100_000, 1_000_000] if not os.environ.get("REMIT_BENCH_EVENTS") else [int(os.environ["REMIT_BENCH_EVENTS"])]
TOOLS, POLICIES = [f"tool{n}" for n in range(50)], ("within-purpose",)
QUERIES = {
    "one task": lambda n: [f"tsk_{n % 1000:032x}"],
    "one agent's denials": lambda n: [f"agent{n % 100}", "deny"],
    "two common words": lambda n: ["AccessDecided", "permit"],
    "nothing": lambda n: [f"nothing{n}"],
    "the newest": lambda n: [],
}


def leaf(place: int) -> bytes:
    """One decision's bytes."""
    task, agent = random.randrange(1000), place % 100
    word = "deny" if place % 1009 == 0 else "permit"
    because = events.AccessDecided(
        f"tsk_{task:032x}", f"agent{agent}", TOOLS[place % 50], f"sha256:{place:064x}", word, ("within_policy",), POLICIES,
        ("PR.AA-05",), "", f"sha256:{1:064x}", "trusted", "internal", "stated", "none",
    )  # fmt: skip
    return encode(Change(because, Call(Caller(CallerKind.AGENT, f"agent{agent}"), 1_790_000_000_000 + place))).leaf


def fill(path: Path, start: int, end: int) -> float:
    """Events straight into the tables, already in their places; returns the seconds that their words took."""
    took = 0.0
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous=OFF")
        for first in range(start, end, 10_000):
            leaves = [leaf(place) for place in range(first, first + 10_000)]
            rows = [(text, b"", first + n) for n, text in enumerate(leaves)]
            db.executemany("INSERT INTO events (leaf, bodies, log_index) VALUES (?, ?, ?)", rows)
            began = time.perf_counter()
            found = [(number(word), first + n) for n, text in enumerate(leaves) for word in sorted(words(text))]
            db.executemany("INSERT INTO log_words (word, place) VALUES (?, ?)", found)
            took += time.perf_counter() - began
        db.execute("INSERT OR REPLACE INTO log_indexed (id, size) VALUES (?, ?)", (VERSION, end))
        db.execute("INSERT OR REPLACE INTO log_head (id, size, note) VALUES (1, ?, '')", (end,))
    return took


async def measure(path: Path, size: int) -> None:
    """A page of 50, of each kind of search."""
    store = SqliteStore.open(path)
    for subject, query in QUERIES.items():
        samples = []
        for n in range(100):
            began = time.perf_counter()
            await search(store, query(n))
            samples.append(time.perf_counter() - began)
        emit("log.search", subject, size, samples)
    await store.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "remit.db"
        asyncio.run(SqliteStore.open(path).close())
        done = 0
        for size in SIZES:
            took = fill(path, done, size)
            emit("log.search", "indexing, an event", size, value=round(took / (size - done) * 1e6, 1), unit="us")
            with sqlite3.connect(path) as db:
                pages = db.execute("SELECT sum(pgsize) FROM dbstat WHERE name = 'log_words'").fetchone()
                emit("log.search", "index, an event", size, value=round(pages[0] / size), unit="bytes")
            done = size
            asyncio.run(measure(path, size))


main()
