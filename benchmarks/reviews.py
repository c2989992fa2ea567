"""Reviews: what one page costs over a log of 100,000 and of 1,000,000 events, and a campaign over 1,000 agents, on SQLite.

The log is one agent's, who is permitted eight tools often, two once, and asks for two that it is never permitted.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from evidence import fill, sequencer, watched
from measure import emit
from tests.world import FILES, changed, world

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.review import Review
from remit.formats.record import encode
from remit.govern.review import shown
from remit.store.sqlite import SqliteStore
from remit.verbs.review import open_review

SIZES = [100_000, 1_000_000] if not os.environ.get("REMIT_BENCH_EVENTS") else [int(os.environ["REMIT_BENCH_EVENTS"])]
AGENTS, TOOLS = 1_000, 12
BEGAN = 1_790_000_000_000
OPERATOR = Caller(CallerKind.OPERATOR, "op")
GRANTS = "".join(f'[[grants]]\ntool = "tool{n}"\n' for n in range(TOOLS))
MORE = {f"tools/tool{n}.toml": FILES["tools/list.toml"] for n in range(TOOLS)}


def leaf(place: int) -> bytes:
    """A task, and nine decisions in it."""
    task = f"tsk_{place // 10:032x}"
    caller = Call(Caller(CallerKind.AGENT, "bot"), BEGAN + place)
    if place % 10 == 0:
        because: events.Event = events.TaskProposed(
            task, "bot", "pay", "sha256:r", f"person:p{place % 7}", "goal", "{}", BEGAN * 2, "sha256:c", ()
        )
        return encode(Change(because, caller)).leaf
    rare = {5: "tool8", 11: "tool9"}.get(place)
    tool, said = (rare, "permit") if rare else (f"tool{place % 8}", "permit")
    if place % 101 == 0:
        tool, said = f"tool{10 + place % 2}", "hold" if place % 2 else "deny"
    because = events.AccessDecided(
        task, "bot", tool, f"sha256:{place:064x}", said, (), (), (), "", "sha256:c", "trusted", "internal", "stated",
        "none", purpose="pay",
    )  # fmt: skip
    return encode(Change(because, caller)).leaf


async def page(path: Path, size: int) -> None:
    """What an owner waits for when they open one review."""
    store = SqliteStore.open(path)
    purpose = FILES["purposes/pay.toml"].replace("[[grants]]", GRANTS + "[[grants]]", 1)
    w = await world(store, {**changed(purposes__pay_dot_toml=purpose), **MORE}, now=BEGAN)
    await open_review(w.env, Call(OPERATOR, BEGAN + size), "bot")
    while await sequencer.sequence(store, w.env.signer, "bench/log"):
        pass
    row = await store.get(Review, "bot")
    assert row is not None
    samples, stalls = [], []
    for _ in range(10):
        began = time.perf_counter()
        seen, worst = await watched(shown(w.env, store, row))
        samples.append(time.perf_counter() - began)
        stalls.append(worst)
    unused = {held.name for held in seen.unused if held.purpose == "pay" and held.name.startswith("tool")}
    assert unused == {"tool10", "tool11"}, unused
    emit("review.shown", "one agent", size, samples)
    emit("review.shown", "longest time that nothing else ran", size, stalls)
    await store.close()


async def campaign(path: Path) -> None:
    """Every agent's review opened, one after another, each durable."""
    store = SqliteStore.open(path)
    agents = {f"agents/a{n}.toml": FILES["agents/bot.toml"] for n in range(AGENTS)}
    w = await world(store, {**FILES, **agents}, now=BEGAN)
    samples = []
    for n in range(AGENTS):
        began = time.perf_counter()
        await open_review(w.env, Call(OPERATOR, BEGAN), f"a{n}", "all")
        samples.append(time.perf_counter() - began)
    emit("review.open", "each of a campaign", AGENTS, samples, AGENTS / sum(samples))
    await store.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await campaign(Path(folder) / "campaign.db")
        for size in SIZES:
            path = Path(folder) / f"{size}.db"
            await SqliteStore.open(path).close()
            fill(path, 0, size, leaf)
            await page(path, size)


if __name__ == "__main__":
    asyncio.run(main())
