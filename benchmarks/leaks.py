"""How fast logs and transcripts are read, what a report costs to compare, and what being known again costs a mint.

`scan.transcript`: an agent's sessions as JSON lines. `leak.report`: 1,000 digests against n static secrets and n minted
ones. `leak.mint`: the work that a mint has more, without its row.
"""

from __future__ import annotations

import asyncio
import json
import resource
import secrets
import tempfile
import time
from pathlib import Path

from tests.world import world

from remit.discover import talk
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.events import LeaseMinted
from remit.domain.leak import Leak, LeakKind, Seen
from remit.formats import leak_digest
from remit.store.sqlite import SqliteStore
from remit.verbs.recognise import take
from remit.verbs.seal import seal
from remit.work.recognise import recognise

from measure import emit, timed  # isort: skip

MB = 64
REPORTED = 1_000


def transcript(folder: Path) -> None:
    path = folder / "session.jsonl"
    line = {
        "type": "user",
        "message": {"role": "user", "content": [{"type": "tool_result", "content": "x = 1\n" * 200}]},
    }
    text = (json.dumps(line) + "\n").encode()
    with path.open("wb") as file:
        for _ in range(MB * 1_000_000 // len(text)):
            file.write(text)
        file.write(json.dumps({"password": "hunter22-prod-9Z"}).encode())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    found, _, _ = talk.read(folder)
    took = time.perf_counter() - started
    assert len(found.secrets) == 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    emit("scan.transcript", "remit", MB, value=round(MB / took, 1), unit="MB/s", note=f"memory grew by {grown:.0f} MB")


async def reports(folder: Path, n: int) -> None:
    store = SqliteStore.open(folder / f"{n}.db")
    w = await world(store)
    by = Call(Caller(CallerKind.OPERATOR, "op"), w.clock.now)
    for number in range(n):
        await seal(w.env, by, f"s{number}", secrets.token_bytes(16).hex().encode())
        change = Change(LeaseMinted(f"lse_{number}", "tsk_x"), by)
        parts = {"password": secrets.token_urlsafe(24)}
        await store.commit(w.env.recognised(change, Leak(LeakKind.LEASE, f"lse_{number}"), parts))
    samples = []
    for _ in range(5):
        digests = [leak_digest.seen(w.env.scan_key, secrets.token_hex(16)) for _ in range(REPORTED)]
        seen = [Seen(w.env.print_of(digest), "secret-in-file", "a/b:1") for digest in digests]
        await take(w.env, by, seen)
        started = time.perf_counter()
        assert await recognise(w.env, w.clock.now) == 1
        samples.append(time.perf_counter() - started)
    emit("leak.report", "remit", n, samples, REPORTED / sorted(samples)[2], f"{REPORTED} digests")
    change, leak = Change(LeaseMinted("lse_a", "tsk_x"), by), Leak(LeakKind.LEASE, "lse_a")
    more = timed(lambda: w.env.recognised(change, leak, {"password": "p" * 32}), 5_000)
    emit("leak.mint", "remit", n, more, note="of one part")
    await store.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        transcript(Path(name))
        for n in (100, 1_000):
            asyncio.run(reports(Path(name), n))


if __name__ == "__main__":
    main()
