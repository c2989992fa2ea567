"""What goes wrong, and when: a schedule that a seed gives, and how each fault is done and undone.

Several faults may last at once, but never two on the same thing. Between storms it is calm for some seconds, so that
work gets through and the next storm meets something worth breaking.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import hosts
from .parties import Database, Party

SKEWS = (-90, -20, -5, 5, 30, 600)  # seconds
BEHIND = 90  # the most that any clock is behind


@dataclass(frozen=True)
class Fault:
    """From `at`, for `lasts` seconds. `what` is done to `whom`; a link is written `a>b` (one way) or `a-b`.

    An edge that is `cut off` reaches no replica, and agents reach it.
    """

    at: float
    lasts: float
    what: str
    whom: str
    much: int = 0

    def __str__(self) -> str:
        much = f" {self.much:+d} s" if self.what == "skew" else ""
        return f"{self.at:6.1f} s  {self.what} {self.whom}{much} for {self.lasts:.1f} s"


@dataclass(frozen=True)
class Hosts:
    """Who is there, by what they are; `links` are the pairs between which something is said."""

    replicas: Sequence[str]
    edges: Sequence[str]
    databases: Sequence[str]
    brokers: Sequence[str]
    links: Sequence[tuple[str, str]]

    @property
    def everybody(self) -> Sequence[str]:
        return (*self.replicas, *self.edges, *self.databases, *self.brokers)


def schedule(seed: int, seconds: float, found: Hosts) -> list[Fault]:
    """The same faults for the same seed; all are over when the time is."""
    choose, at = random.Random(seed), 2.0
    faults: list[Fault] = []
    busy: dict[str, float] = {}
    clocked, disks = (*found.replicas, *found.edges), (*found.databases, *found.edges)
    kinds: list[tuple[str, float, Sequence[str]]] = [
        ("kill", 5, found.everybody),
        ("restart", 2, found.everybody),
        ("pause", 4, found.everybody),
        ("isolate", 2, found.everybody),
        ("cut off", 4, found.edges),
        ("cut", 3, [f"{a}-{b}" for a, b in found.links]),
        ("cut one way", 2, [f"{x}>{y}" for a, b in found.links for x, y in ((a, b), (b, a))]),
        ("lose", 2, [f"{a}-{b}" for a, b in found.links]),
        ("slow", 1, found.everybody),
        ("skew", 4, clocked),
        ("fill", 2, disks),
    ]
    while True:
        at += choose.uniform(6, 9) if choose.random() < 0.12 else choose.uniform(0.4, 2.6)
        lasts = choose.uniform(0.5, 3) if choose.random() < 0.5 else choose.uniform(3, 11)
        what, _, whoms = choose.choices(kinds, [weight for _, weight, _ in kinds])[0]
        whom = choose.choice(whoms) if whoms else ""
        lasts += 4 if what == "cut off" else 0  # past every bound
        much = choose.choice(SKEWS) if what == "skew" else 0
        thing = f"clock of {whom}" if what == "skew" else whom if what in ("kill", "restart", "pause") else what + whom
        if at + lasts > seconds - 1:
            if at > seconds - 1:
                return faults
            continue
        if whom and busy.get(thing, 0.0) < at:
            busy[thing] = at + lasts + 1
            faults.append(Fault(round(at, 2), round(lasts, 2), what, whom, much))


class Nemesis:
    """Does what the schedule says, to these parties on this switch."""

    def __init__(
        self,
        switch: hosts.Switch,
        parties: Mapping[str, Party],
        disks: Mapping[str, Path],
        centre: Sequence[str],
        faults: Sequence[Fault],
    ) -> None:
        self._switch, self._parties, self._disks, self._centre = switch, parties, disks, centre
        steps = [(fault.at, fault, self._begin) for fault in faults]
        steps += [(fault.at + fault.lasts, fault, self._end) for fault in faults]
        self._steps: list[tuple[float, Fault, Callable[[Fault], None]]] = sorted(steps, key=lambda step: step[0])

    def due(self, now: float) -> list[tuple[float, Fault, bool]]:
        """Do all that is due, `now` seconds in; what was done, and whether that was a beginning."""
        done = []
        while self._steps and self._steps[0][0] <= now:
            at, fault, act = self._steps.pop(0)
            act(fault)
            done.append((at, fault, act == self._begin))
        return done

    def _begin(self, fault: Fault) -> None:
        whom, switch = fault.whom, self._switch
        match fault.what:
            case "kill":
                self._parties[whom].kill()
            case "restart":
                party = self._parties[whom]
                party.stop(signal.SIGINT if isinstance(party, Database) else signal.SIGTERM)
            case "pause":
                self._parties[whom].pause()
            case "isolate":
                switch.isolate(whom)
            case "cut off":
                for one in self._centre:
                    switch.cut(whom, one)
            case "cut":
                switch.cut(*whom.split("-"))
            case "cut one way":
                switch.cut(*whom.split(">"), one_way=True)
            case "lose":
                switch.lose(*whom.split("-"))
            case "slow":
                switch.slow(whom)
            case "skew":
                self._parties[whom].skew(fault.much)
            case "fill":
                hosts.fill(self._disks[whom])

    def _end(self, fault: Fault) -> None:
        whom, switch = fault.whom, self._switch
        match fault.what:
            case "kill" | "restart":
                self._parties[whom].start()
            case "pause":
                self._parties[whom].resume()
            case "isolate":
                switch.rejoin(whom)
            case "cut off":
                for one in self._centre:
                    switch.heal(whom, one)
            case "cut":
                switch.heal(*whom.split("-"))
            case "cut one way":
                switch.heal(*whom.split(">"), one_way=True)
            case "lose":
                switch.keep(*whom.split("-"))
            case "slow":
                switch.quicken(whom)
            case "skew":
                self._parties[whom].skew(0)
            case "fill":
                hosts.empty(self._disks[whom])
