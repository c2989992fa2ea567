"""How people answer what they are asked: an approval that nobody reads protects nothing.

Read from the log, from where the last reading stopped, so that a page costs what is new and not what there is. Times
are kept of the newest `KEPT` answers of each policy and person; counts are of everything that was read.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import msgspec

from remit.ports import LogReader

KEPT = 1000
PAGE = 1000
AT_MOST = 200  # pages in one reading
HASTY_MS = 2_000
ENOUGH = 5
_TYPES = tuple(
    f'{{"v":1,"type":"{name}"'.encode()
    for name in ("TaskProposed", "AccessDecided", "ApprovalAnswered", "ApprovalExpired", "StandingYesEnded")
)


@dataclass
class Tally:
    """Of one policy, one person, or all: what was asked, and how it was answered. Times in ms."""

    asked: int = 0
    yes: int = 0
    no: int = 0
    expired: int = 0
    took: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))

    def answered(self, yes: bool, took: int) -> None:
        """One more answer."""
        self.yes, self.no = self.yes + yes, self.no + (not yes)
        self.took.append(took)

    @property
    def rate(self) -> float | None:
        """The share of answers that are yes; None before the first."""
        return self.yes / (self.yes + self.no) if self.yes + self.no else None

    @property
    def median(self) -> int | None:
        """How long an answer takes; None before the first."""
        return int(median(self.took)) if self.took else None

    def problem(self) -> str:
        """What is wrong with how this is answered, if something is."""
        if self.yes + self.no < ENOUGH:
            return ""
        if self.no == 0 and self.median is not None and self.median < HASTY_MS:
            seconds = self.median / 1000
            return f"always yes, in {seconds:.1f} s: nobody reads it. Narrow it, or let it pass."
        if self.expired > 3 * (self.yes + self.no):
            return "most of it is never answered: ask somebody else, or escalate sooner."
        return ""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        counts = {"asked": self.asked, "yes": self.yes, "no": self.no, "expired": self.expired}
        return {**counts, "yes_rate": self.rate, "median_ms": self.median, "problem": self.problem()}


@dataclass(frozen=True, slots=True)
class _Asked:
    at: int
    policies: tuple[str, ...]


class Fatigue:
    """The counts, up to where the log was read. `behind` is how much of it was not yet."""

    def __init__(self) -> None:
        self.all = Tally()
        self.policies: dict[str, Tally] = {}
        self.people: dict[str, Tally] = {}
        self.tasks = 0
        self.behind = 0
        self._next = 0
        self._reading = asyncio.Lock()
        self._open: dict[str, _Asked] = {}
        self._by_task: Counter[str] = Counter()

    async def read(self, log: LogReader, pages: int = 0) -> None:
        """Catch up with the log by so many pages of it, `AT_MOST` unless they are said."""
        async with self._reading:  # each event is counted once, however many ask
            size, _ = await log.head()
            for _ in range(pages or AT_MOST):
                lines = await log.entries(self._next, min(self._next + PAGE, size))
                if not lines:
                    break
                self._next += len(lines)
                for line in lines:
                    if line.startswith(_TYPES):
                        self._take(msgspec.json.decode(line))
            self.behind = size - self._next

    @property
    def holds_per_task(self) -> float | None:
        """Over every task that was opened; None before the first."""
        return self.all.asked / self.tasks if self.tasks else None

    def person(self, name: str) -> Tally:
        """How this person answers."""
        return self.people.get(name) or Tally()

    def shown(self) -> dict[str, Any]:
        """As JSON; what needs somebody's attention first."""
        return {
            "tasks": self.tasks,
            "holds_per_task": self.holds_per_task,
            "most_holds_of_one_task": max(self._by_task.values(), default=0),
            "all": self.all.shown(),
            "policies": _sorted(self.policies, "policy"),
            "people": _sorted(self.people, "person"),
            "behind": self.behind,
        }

    def _take(self, event: Mapping[str, Any]) -> None:
        data = event["data"]
        match event["type"]:
            case "TaskProposed":
                self.tasks += 1
            case "AccessDecided" if data["decision"] == "hold" and data["approval"] not in self._open:
                self._asked(data, event["at"])
            case "ApprovalAnswered":
                self._answered(data, event["at"])
            case "ApprovalExpired" if (asked := self._open.pop(data["approval"], None)) is not None:
                for tally in (self.all, *self._tallies(asked.policies)):
                    tally.expired += 1

    def _asked(self, data: Mapping[str, Any], at: int) -> None:
        policies = tuple(dict.fromkeys(data["policies"]))
        self._open[data["approval"]] = _Asked(at, policies)
        self._by_task[data["task"]] += 1
        for tally in (self.all, *self._tallies(policies)):
            tally.asked += 1

    def _answered(self, data: Mapping[str, Any], at: int) -> None:
        asked = self._open.get(data["approval"])
        if asked is None:
            return
        mine = self.people.setdefault(data["person"], Tally())
        mine.asked += 1
        for tally in (self.all, mine, *self._tallies(asked.policies)):
            tally.answered(data["yes"], at - asked.at)
        if data["state"] != "pending":
            del self._open[data["approval"]]

    def _tallies(self, policies: Iterable[str]) -> list[Tally]:
        return [self.policies.setdefault(name, Tally()) for name in policies]


def _sorted(tallies: Mapping[str, Tally], noun: str) -> list[dict[str, Any]]:
    order = sorted(tallies, key=lambda name: (not tallies[name].problem(), -tallies[name].asked, name))
    return [{noun: name, **tallies[name].shown()} for name in order]
