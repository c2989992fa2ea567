"""Bugs planted on purpose: with each of them the simulator must turn red, or it does not explore.

`python -m tests.simulation.planted` says how many seeds each took.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any
from unittest.mock import patch

from remit.domain import events
from remit.domain.above import Above, Branch
from remit.domain.approval import Approval, ApprovalState
from remit.domain.change import Change
from remit.domain.estate import Edge as Place
from remit.domain.freeze import Frozen
from remit.domain.lease import Lease
from remit.domain.task import Task
from remit.formats.tlog import Checkpoint, note_key, sign_checkpoint
from remit.log import merkle, tiles
from remit.ports import Appended
from remit.web.frames import Frames
from remit.work import kill_leases
from remit.work.edge.follow import Follow

from . import house, outside
from .database import SimulatedStore
from .run import Outcome, simulate

RARE = 3_000


@dataclass(frozen=True)
class Bug:
    """`laws` that may be seen broken first; `patches` plant it. `seed` found it, with these `settings` if any.

    Another schedule finds it when the product takes other steps than it did: one of `within`, from zero.
    """

    name: str
    laws: str
    patches: Callable[[], list[Any]]
    seed: int = 0
    settings: dict[str, int] = field(default_factory=dict)
    within: int = 100


def _unchecked(event: type[Any], kind: type[Any]) -> list[Any]:
    """`.check(row)` taken out of one commit."""
    check = Change.check

    def unchecked(self: Change, row: Any) -> Change:
        return self if isinstance(self.because, event) and isinstance(row, kind) else check(self, row)

    return [patch.object(Change, "check", unchecked)]


def _unwritten(event: type[Any], wanted: Callable[[Any], bool]) -> list[Any]:
    """`.put(row)` taken out of one commit."""
    put = Change.put

    def unwritten(self: Change, row: Any, *, was: Any) -> Change:
        return self if isinstance(self.because, event) and wanted(row) else put(self, row, was=was)

    return [patch.object(Change, "put", unwritten)]


def _hasty(wanted: Callable[[Any], bool]) -> list[Any]:
    """The answer does not wait for the commit."""
    commit = SimulatedStore.commit

    async def hasty(self: SimulatedStore, change: Change) -> int:
        if wanted(change.because):
            task = asyncio.ensure_future(commit(self, change))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            return 0
        return await commit(self, change)

    acknowledged = patch.object(house.Witness, "acknowledged_event", lambda self, number: None)
    return [patch.object(SimulatedStore, "commit", hasty), acknowledged]


async def _no_kill(env: Any, lease: Any) -> None:
    """Believed dead."""


async def _head_last(log: Any, signer: Any, name: str) -> int:
    waiting = await log.unsequenced(512)
    size, _ = await log.head()
    if not waiting:
        return 0
    grown = await tiles.with_tiles(
        lambda read: tiles.extend(size, [merkle.leaf_hash(leaf) for _, leaf in waiting], read), log.tile
    )
    key = signer.public("log")[0]
    sign = (note_key(name, key), lambda data: signer.sign("log", data, key["kid"]).value)
    note = sign_checkpoint(Checkpoint(name, grown.size, grown.root), [sign])
    numbers = tuple(number for number, _ in waiting)
    await log.append(Appended(size, numbers, grown.tiles, grown.size, grown.root, note))
    return len(waiting)


async def _unconditional(self: Any, extension: Any) -> None:
    from remit.store.memory import MemoryStore

    await MemoryStore.append(self, extension)
    self.placed.update(extension.events)


def _believed(self: Lease, now: int, error: str) -> Lease:
    return replace(self, minted_at=1).ended(now)


def _compare_nothing() -> list[Any]:
    encode = house.SimulatedStore._attempt

    async def attempt(self: SimulatedStore, changes: Any) -> Any:
        current = []
        for change in changes:
            puts = []
            for put in change.puts:
                version = self.database.version((put.kind.table, put.key))
                puts.append(replace(put, expected=version) if put.kind.table == "tasks" else put)
            checks = tuple((k, key, self.database.version((k.table, key))) for k, key, _ in change.checks)
            current.append(replace(change, puts=tuple(puts), checks=checks))
        return await encode(self, current)

    return [patch.object(SimulatedStore, "_attempt", attempt)]


def _guard_without(kind: type[Any]) -> Callable[[Above, Change], Change]:
    def guard(self: Above, change: Change) -> Change:
        for row in (self.frozen, *(link.branch for link in self.links)):
            change = change if isinstance(row, kind) else change.check(row)
        return change

    return guard


def _permit(event: Any) -> bool:
    return isinstance(event, events.AccessDecided) and event.decision == "permit"


BUGS: tuple[Bug, ...] = (
    Bug(
        "a lease ends though nobody killed its credential",
        "5",
        lambda: [patch.object(kill_leases, "_kill", _no_kill)],
        seed=1,
    ),
    Bug("a lease ends when its kill failed", "5", lambda: [patch.object(Lease, "kill_failed", _believed)], seed=1),
    Bug(
        "a lease ends while its mint may still land",
        "5",
        lambda: [patch.object(Lease, "may_end_at", lambda self, now: True)],
        seed=149,
        within=RARE,
    ),
    Bug(
        "an issuer mints until the last moment of a clock that differs",
        "5",
        lambda: [patch.object(outside, "MARGIN", 0)],
        settings={"skew": 2_000, "issuer_slow": 2, "revokes": 5},
        seed=37,
    ),
    Bug("a reservation does not check its task", "6", lambda: _unchecked(events.LeaseReserved, Task), seed=20),
    Bug(
        "a settled mint does not check its task",
        "6",
        lambda: _unchecked(events.LeaseMinted, Task),
        seed=269,
        within=RARE,
    ),
    Bug(
        "nothing checks what is frozen",
        "6",
        lambda: [patch.object(Above, "guard", _guard_without(Frozen))],
        seed=158,
        within=RARE,
    ),
    Bug(
        "nothing checks the branches above",
        "6",
        lambda: [patch.object(Above, "guard", _guard_without(Branch))],
        seed=946,
        within=RARE,
    ),
    Bug(
        "the end of a task does not end its branch",
        "6",
        lambda: _unwritten(events.TaskEnded, lambda row: isinstance(row, Branch)),
        seed=946,
        within=RARE,
    ),
    Bug(
        "a revocation is acknowledged before it is durable",
        "6",
        lambda: _hasty(lambda e: isinstance(e, events.TaskEnded)),
        seed=0,
    ),
    Bug("a permit is answered before it is durable", "46", lambda: _hasty(_permit), seed=4),
    Bug(
        "a mint does not wait for its reservation",
        "4",
        lambda: _hasty(lambda e: isinstance(e, events.LeaseReserved)),
        seed=4,
    ),
    Bug(
        "an approval is not consumed with the permit",
        "7",
        lambda: _unwritten(
            events.AccessDecided, lambda row: isinstance(row, Approval) and row.state is ApprovalState.USED
        ),
        seed=19,
    ),
    Bug(
        "a permit is not counted", "2", lambda: [patch.object(Task, "spent", lambda self, label, used="": self)], seed=7
    ),
    Bug(
        "what is handed on is not taken from the giver",
        "2",
        lambda: [patch.object(Task, "hands_on", lambda self, calls: replace(self, handed=self.handed + 1))],
        seed=13,
    ),
    Bug("the store compares nothing before it swaps", "269", _compare_nothing, seed=6),
    Bug(
        "the sequencer reads the head last, and append does not look at the places",
        "9",
        lambda: [patch.object(house, "sequence", _head_last), patch.object(house.Database, "append", _unconditional)],
        seed=5,
    ),
)


# Nothing but a task after the other beside one edge.
ESTATE = {"edges": 1, "revokes": 5, "crashes": 0, "operations": 1, "workers": 1, "agents": 1, "replicas": 1}
ESTATE |= {"lost": 0, "late": 0, "broken": 0, "outages": 0, "freezes": 0, "catalogues": 0, "issuer_slow": 0}
APART = {**ESTATE, "cuts": 8}


async def _whatever_is_sequenced(self: Any) -> int:
    self._look = None
    return int((await self._log.head())[0])


async def _lets_nothing_go(self: Any, said: Any) -> None:
    self._moved(said.size)


BUGS += (
    Bug(
        "an edge does not look how old it is",
        "6",
        lambda: [patch.object(Place, "bound", lambda self, effect: 10**9)],
        seed=32,
        settings=APART,
    ),
    Bug(
        "a beat covers what is sequenced, not what is committed",
        "6",
        lambda: [patch.object(Frames, "_covered", _whatever_is_sequenced)],
        seed=11,
        settings={**ESTATE, "broken": 10},
    ),
    Bug(
        "an edge hears of an end and does nothing",
        "6",
        lambda: [patch.object(Follow, "_apply", _lets_nothing_go)],
        seed=1,
        settings=ESTATE,
    ),
)


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """It is there inside."""
    patches = bug.patches()
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()


def first_red(bug: Bug, seeds: Iterable[int] = ()) -> Outcome | None:
    """The first of the schedules that breaks one of its laws; None when none did."""
    with planted(bug):
        for seed in seeds or chain([bug.seed], range(bug.within)):
            found = simulate(seed, bug.settings)
            if found.law and found.law in bug.laws:
                return found
    return None


def main() -> int:
    blind = 0
    for bug in (bug for bug in BUGS if not sys.argv[1:] or sys.argv[1] in bug.name):
        started = time.monotonic()
        found = first_red(bug, range(RARE))
        blind += found is None
        told = f"seed {found.seed:>4}, {time.monotonic() - started:5.1f} s" if found else "NOT FOUND"
        print(f"{told}  {bug.name}\n        {found.problem if found else ''}", flush=True)
    return int(bool(blind))


if __name__ == "__main__":
    sys.exit(main())
