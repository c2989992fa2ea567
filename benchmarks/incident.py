"""The whole story of one identifier, in a log of 100,000 events (REMIT_BENCH_EVENTS for more), on SQLite.

One task's life is real: proposed, decided, held, answered, given a credential. The log is copies of it, nine events each,
with their rows and words, put straight into the tables; all of one agent, one person and one purpose, which is the
worst that there is to walk through. Each story is of another copy. `incident.export` has the proofs too: of a log of
100,000, since it has to be sequenced for them.
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
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bulk import put
from measure import ONLY, emit
from tests.govern.test_incident import Everything
from tests.world import World, world

from remit.domain.approval import Approval
from remit.domain.decision import Access
from remit.domain.lease import Lease
from remit.domain.task import Task
from remit.formats import tlog
from remit.formats.log_words import VERSION, number, resource_word, words
from remit.govern import bundle
from remit.govern.incident import Story, story
from remit.govern.looking import Looking
from remit.govern.things import Things
from remit.log import tiles
from remit.store.sqlite import SqliteStore
from remit.verbs.approve import Given, answer
from remit.verbs.decide import decide
from remit.verbs.issue import issue
from remit.work import sequence as sequencer

SIZE = int(os.environ.get("REMIT_BENCH_EVENTS", "100000"))
CHUNK, RESOURCES, EXPORTED = 50_000, 1_000, 100_000
LOG = "bench/log"
sequencer.BATCH = 20_000  # only here: to have the log sooner


async def lived(w: World) -> tuple[list[bytes], list[Any], dict[str, str]]:
    """One task's events and rows, and what things in them are called."""
    _, call = await w.proved()
    begun = len(await w.store.history(0, 1000))
    task = await w.task(call)
    for _ in range(3):
        await decide(w.env, call, Access(task.id, "list", {"customer": "acme"}))
    pay = Access(task.id, "pay", {"customer": "acme", "invoice": 1, "amount": "1"})
    await decide(w.env, call, pay)
    (asked,) = await w.store.find(Approval, {"task": task.id})
    await answer(w.env, w.person("frank"), asked.id, Given(asked.digest, True))
    await decide(w.env, call, pay)
    lease, _ = await issue(w.env, call, task.id, "db")
    keys = ((Task, task.id), (Approval, asked.id), (Lease, lease.id))
    names = {"task": task.id, "approval": asked.id, "lease": lease.id, "credential": lease.handle}
    return [one[1] for one in await w.store.history(begun, 1000)], [await w.store.get(*one) for one in keys], names


class Copies:
    """Copy `n` of a task's life is called by `n`, and is about one of so many customers."""

    def __init__(self, w: World, leaves: list[bytes], rows: list[Any], names: dict[str, str]) -> None:
        self.leaves, self.rows, self.names = leaves, rows, names
        sealer = w.env.sealer
        self._own = [resource_word(sealer, one) for one in ("customer/acme", "customer/acme/1")]
        self._theirs = [resource_word(sealer, f"customer/{n}") for n in range(RESOURCES)]
        said = [sorted(words(leaf)) for leaf in leaves]
        changing = (*names.values(), *self._own)
        self._fixed = [[number(w) for w in one if not any(name in w for name in changing)] for one in said]
        self._named = [[w for w in one if any(name in w for name in changing)] for one in said]

    def called(self, kind: str, n: int) -> str:
        """The name of a copy's task, approval, lease or credential."""
        return f"{kind[:3]}_c{n:031x}"

    def events(self, n: int) -> list[tuple[bytes, list[int]]]:
        """The bytes of each, and its words."""
        to = [(name, self.called(kind, n)) for kind, name in self.names.items()]
        to += [(own, self._theirs[n % RESOURCES]) for own in self._own]
        found = []
        for leaf, fixed, named in zip(self.leaves, self._fixed, self._named, strict=True):
            for own, name in to:
                leaf = leaf.replace(own.encode(), name.encode())
            found.append((leaf, fixed + [number(_renamed(word, to)) for word in named]))
        return found

    def row(self, kind: int, n: int) -> Any:
        """The task, the approval or the lease."""
        task, row = self.called("task", n), self.rows[kind]
        if kind == 0:
            return replace(row, id=task)
        if kind == 1:
            return replace(row, id=self.called("approval", n), task=task)
        return replace(row, id=self.called("lease", n), task=task, handle=self.called("credential", n))


def _renamed(word: str, to: list[tuple[str, str]]) -> str:
    for own, name in to:
        word = word.replace(own, name)
    return word


def fill(path: Path, copies: Copies, first: int, size: int, *, placed: bool) -> None:
    """So many copies' events after place `first`, with their rows and words; `placed`: in the log already."""
    each = len(copies.leaves)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA cache_size=-1000000")
        for start in range(0, size // each, CHUNK):
            numbers = range(start, min(size // each, start + CHUNK))
            made = [one for n in numbers for one in copies.events(n)]
            at = first + start * each
            rows = [(leaf, b"", at + n if placed else None) for n, (leaf, _) in enumerate(made)]
            db.executemany("INSERT INTO events (leaf, bodies, log_index) VALUES (?, ?, ?)", rows)
            found = sorted((word, at + n) for n, (_, said) in enumerate(made) for word in said)
            db.executemany("INSERT OR IGNORE INTO log_words (word, place) VALUES (?, ?)", found)
            for kind in range(3):
                put(db, [copies.row(kind, n) for n in numbers])
            db.commit()
        if placed:
            db.execute("INSERT OR REPLACE INTO log_head (id, size, note) VALUES (1, ?, '')", (first + size,))
        db.execute("INSERT OR REPLACE INTO log_indexed (id, size) VALUES (?, ?)", (VERSION, first + size))
        db.execute("ANALYZE")


async def told(w: World, of: str, depth: int = 1) -> Story:
    """The story as a route tells it."""
    sight = Everything()
    known = Things(Looking(w.env, w.store, sight, w.clock.now))
    return await story(w.store, known, sight, of, depth=depth)


async def stories(w: World, copies: Copies, first: int, size: int) -> None:
    """By each kind of identifier, of another copy each time."""
    each = len(copies.leaves)
    asked: dict[str, Callable[[int], tuple[str, int]]] = {
        **{kind: lambda n, kind=kind: (copies.called(kind, n), 1) for kind in copies.names},
        "event": lambda n: (f"#{first + n * each + 1}", 1),
        "document": lambda n: (f"customer/{n % RESOURCES}", 1),
        "agent": lambda n: ("agent:bot", 1),
        "agent, through three shared things": lambda n: ("agent:bot", 3),
        "nothing": lambda n: (f"nothing-{n}", 1),
    }
    for subject, of in asked.items():
        samples, events = [], 0
        for _ in range(30):
            began = time.perf_counter()
            found = await told(w, *of(random.randrange(size // each)))
            samples.append(time.perf_counter() - began)
            events = len(found.events)
            assert bool(found.seeds) is (subject != "nothing"), subject
        emit("incident.story", subject, size, samples, note=f"{events} events, {len(found.things)} things")


async def exported(w: World, copies: Copies, size: int) -> None:
    """A bundle of one task's story, with its receipts."""
    while await sequencer.sequence(w.store, w.env.signer, LOG):
        pass
    samples = []
    for n in range(10):
        began = time.perf_counter()
        found = await told(w, copies.called("task", n * 7))
        head, note = await w.store.head()
        proofs = []
        for place, leaf in found.events:
            path = await tiles.with_tiles(lambda read, at=place: tiles.inclusion_proof(at, head, read), w.store.tile)
            proofs.append((place, leaf, tlog.write_proof(place, path, note)))
        data = bundle.build(note, proofs, {"story.json": json.dumps(found.of).encode()})
        samples.append(time.perf_counter() - began)
    emit("incident.export", "remit", size, samples, note=f"{len(proofs)} receipts, {len(data):,} bytes")


async def measure(path: Path, size: int, *, placed: bool) -> None:
    """One log of that size."""
    w = await world(SqliteStore.open(path))
    copies = Copies(w, *await lived(w))
    while await sequencer.sequence(w.store, w.env.signer, LOG):
        pass
    first, _ = await w.store.head()
    fill(path, copies, first, size, placed=placed)
    await (stories(w, copies, first, size) if placed else exported(w, copies, size))
    await w.store.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        if "incident.story".startswith(ONLY) or ONLY.startswith("incident.story"):
            asyncio.run(measure(Path(folder) / "stories.db", SIZE, placed=True))
        if "incident.export".startswith(ONLY) or ONLY.startswith("incident.export"):
            asyncio.run(measure(Path(folder) / "exported.db", EXPORTED, placed=False))


main()
