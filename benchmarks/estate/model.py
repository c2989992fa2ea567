"""The estate as a discrete-event model: what 10,000 edges on slow links ask of a centre of a few replicas.

Every message is an event with its own delay, its own turn at a replica and its own processor time, which `costs.py` measured
(`costs.json`). A replica is one process on one core that serves in order of arrival; PostgreSQL is counted, not queued for.
A seed is a run, and the same everywhere.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

COSTS: dict[str, float] = json.loads((Path(__file__).parent / "costs.json").read_text())
MS = 1_000.0  # everything inside is in µs


@dataclass(frozen=True)
class Link:
    """One way. `median` ms, log-normal with `sigma`; one segment of `lost_one_in` is sent again, after 1.5 round trips at
    first and twice as long each time (RFC 6298).
    """

    median: float = 100.0
    sigma: float = 0.25
    lost_one_in: int = 0

    def delay(self, rng: Random) -> float:
        """µs until it is there."""
        wait, again = self.median * MS * math.exp(rng.gauss(0, self.sigma)), 3 * self.median * MS
        while self.lost_one_in and not rng.randrange(self.lost_one_in):
            wait, again = wait + again, again * 2
        return wait


@dataclass(frozen=True)
class Estate:
    """`stale` and `beat` in ms: how long an edge relies on what it heard, and how often it asks.

    `apply` is what an edge takes to write a frame down and `sequence` what the centre takes from a commit to the wake of
    every replica (both ms, most of it disks); `shared` reads of the log's size answer all that were asked before.
    """

    edges: int = 10_000
    replicas: int = 3
    link: Link = field(default_factory=Link)
    stale: float = 5_000.0
    beat: float = 1_000.0
    apply: float = 2.0
    sequence: float = 10.0
    tls: bool = True
    other: float = 0.2  # of each replica's time goes to decisions and pages

    @property
    def answer(self) -> float:
        """µs of a replica's time for a beat: the request, the statement, the read it waits for."""
        return COSTS["request"] + COSTS["beat_sign"] + 60.0

    @property
    def load(self) -> float:
        """How busy beats alone keep each replica; 1 is all of it."""
        apart = (self.beat + 2 * self.link.median) * MS
        return self.edges / self.replicas * self.answer / apart + self.other


class Replica:
    """Serves in order; `free` is when its last job is done (µs)."""

    def __init__(self) -> None:
        self.free = 0.0
        self.busy = 0.0

    def serve(self, at: float, cost: float) -> float:
        """When it is done."""
        self.free = max(self.free, at) + cost
        self.busy += cost
        return self.free


class World:
    """Time, and what is to happen."""

    def __init__(self, estate: Estate, seed: int) -> None:
        self.estate, self.rng = estate, Random(f"{seed} {estate}")
        self.now, self._count = 0.0, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self.replicas = [Replica() for _ in range(estate.replicas)]

    def at(self, when: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, do))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = until

    def other_work(self, until: float) -> None:
        """What replicas do besides: requests of a millisecond, at random."""
        for replica in self.replicas if self.estate.other else ():
            self._other(replica, until)

    def _other(self, replica: Replica, until: float) -> None:
        rate = self.estate.other / MS

        def job() -> None:
            replica.serve(self.now, 1 * MS)
            if self.now < until:
                self.at(self.now + self.rng.expovariate(rate), job)

        self.at(self.rng.expovariate(rate), job)


def quantile(values: Sequence[float], q: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(q * len(ordered)) - 1))]


def propagation(estate: Estate, seed: int = 1, revocations: int = 3) -> list[float]:
    """Ms from a revocation's acknowledgement until each edge has applied it: pushed to all, with their beats going on."""
    world = World(estate, seed)
    warm, gap = 2_000 * MS, 3_000 * MS
    end = warm + gap * revocations
    world.other_work(end)
    _beats(world, end, lambda edge, age: None)
    found: list[float] = []

    def told(began: float) -> None:
        for number, replica in enumerate(world.replicas):
            replica.serve(world.now, COSTS["frame_sign"] + 500)
            for _ in range(number, estate.edges, estate.replicas):
                done = replica.serve(world.now, COSTS["push"])
                there = done + estate.link.delay(world.rng) + COSTS["frame_verify"] + estate.apply * MS
                found.append((there - began) / MS)

    for number in range(revocations):
        began = warm + number * gap
        world.at(began + estate.sequence * MS, lambda began=began: told(began))
    world.run(end)
    return found


def _beats(world: World, until: float, aged: Callable[[int, float], None]) -> None:
    """Every edge asks, hears, waits `beat`, and asks again; `aged` gets the greatest age (ms) before each renewal."""
    estate, rng = world.estate, world.rng
    as_of = [0.0] * estate.edges

    def ask(edge: int) -> None:
        asked, replica = world.now, world.replicas[edge % estate.replicas]

        def served() -> None:
            back = replica.serve(world.now, estate.answer) + estate.link.delay(rng) + COSTS["beat_verify"]
            world.at(back, heard)

        def heard() -> None:
            if world.now - asked > 2_000 * MS:  # the edge had given up on this answer
                again()
                return
            if as_of[edge]:
                aged(edge, (world.now - as_of[edge]) / MS)
            as_of[edge] = asked
            again()

        def again() -> None:
            if world.now < until:
                world.at(world.now + estate.beat * MS, lambda: ask(edge))

        world.at(world.now + estate.link.delay(rng), served)

    for edge in range(estate.edges):
        world.at(rng.random() * (estate.beat + 2 * estate.link.median) * MS, lambda edge=edge: ask(edge))


def freshness(estate: Estate, seed: int = 1, seconds: float = 20.0) -> dict[str, float]:
    """How old what edges rely on gets, which part of the time it is too old, and how busy replicas are."""
    world = World(estate, seed)
    end, warm = seconds * 1e6, seconds * 3e5
    world.other_work(end)
    ages: list[float] = []
    late = 0.0

    def aged(edge: int, age: float) -> None:
        nonlocal late
        if world.now > warm:
            ages.append(age)
            late += max(0.0, age - estate.stale)

    _beats(world, end, aged)
    world.run(end)
    span = (end - warm) / MS * estate.edges
    busy = max(replica.busy for replica in world.replicas) / end
    asked = len(ages) / ((end - warm) / 1e6)
    if not ages:
        return {"p50": math.inf, "max": math.inf, "stale": 1.0, "busy": busy, "beats_per_s": 0.0}
    return {
        "p50": quantile(ages, 0.5),
        "p99": quantile(ages, 0.99),
        "max": max(ages),
        "stale": late / span,
        "busy": busy,
        "beats_per_s": asked,
    }


@dataclass(frozen=True)
class Return:
    """How edges come back after the centre was away: retries between `least` and `most` ms apart, each given up after
    `patience` ms; the centre goes on with what was given up.
    """

    least: float = 1_000.0
    most: float = 2_000.0
    patience: float = 5_000.0
    grows_to: float = 0.0  # the longest pause of one that failed, if pauses grow


def storm(estate: Estate, returning: Return, seed: int = 1, seconds: float = 120.0) -> dict[str, Any]:
    """Every edge finds its connection broken and the centre back at 0: when each is fresh again, in ms."""
    world = World(estate, seed)
    rng, until = world.rng, seconds * 1e6
    world.other_work(until)
    fresh: list[float] = []
    tries = 0
    shake = COSTS["handshake"] if estate.tls else 0.0
    # A connection, a stream that begins with the stretch that was missed, and a beat.
    steps = (shake + COSTS["request"] + COSTS["frame_sign"] + 500, estate.answer)
    trip = estate.link.median * 2

    def begin(edge: int, failures: int) -> None:
        nonlocal tries
        tries += 1
        asked, replica = world.now, world.replicas[edge % estate.replicas]
        hops = (3 if estate.tls else 2) * trip * MS  # TCP and TLS 1.3 before the request itself

        def arrived() -> None:
            done = replica.serve(world.now, steps[0])
            world.at(done + estate.link.delay(rng) * 2, beating)

        def beating() -> None:
            if world.now - asked > returning.patience * MS:
                return again()
            done = replica.serve(world.now, steps[1])
            world.at(done + estate.link.delay(rng), heard)
            return None

        def heard() -> None:
            if world.now - asked > returning.patience * MS:
                again()
            else:
                fresh.append(world.now / MS)

        def again() -> None:
            longest = min(returning.grows_to, returning.most * 2**failures) if returning.grows_to else returning.most
            pause = returning.least + rng.random() * max(0.0, longest - returning.least)
            if world.now < until:
                world.at(world.now + pause * MS, lambda: begin(edge, failures + 1))

        world.at(world.now + hops, arrived)

    for edge in range(estate.edges):
        world.at(rng.random() * (returning.grows_to or returning.most) * MS, lambda edge=edge: begin(edge, 0))
    world.run(until)
    return {"fresh": fresh, "tries": tries, "left": estate.edges - len(fresh)}


def rollout(estate: Estate, kilobytes: float, gigabits: float, over: float, seed: int = 1) -> list[float]:
    """Ms until each edge has a catalogue that was applied at 0, when they fetch it within `over` ms of hearing of it.

    A replica reads and writes it out anew for each, and its network carries `gigabits` a second.
    """
    world = World(estate, seed)
    rng, found = world.rng, []
    world.other_work(600e6)
    wire = [0.0] * estate.replicas
    bits = kilobytes * 8 * 1024

    def fetch(edge: int) -> None:
        place = edge % estate.replicas
        done = world.replicas[place].serve(world.now, COSTS["request"] + kilobytes * COSTS["catalogue_kb"])
        wire[place] = max(wire[place], done) + bits / (gigabits * 1e3)
        found.append((wire[place] + estate.link.delay(rng)) / MS)

    for edge in range(estate.edges):
        heard = estate.sequence * MS + estate.link.delay(rng) + rng.random() * over * MS
        world.at(heard + estate.link.delay(rng), lambda edge=edge: fetch(edge))
    world.run(600e6)
    return found
