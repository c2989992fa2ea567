"""What a scan found: things that exist (agents, servers, pipelines) and flaws in them. No secret is ever in here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from hashlib import sha256


class Severity(IntEnum):
    """How soon somebody should look."""

    NOTE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        return self.name.lower()


class Noun(Enum):
    """What there is to know of."""

    AGENT = "agent"
    MCP_SERVER = "MCP server"
    MCP_TOOLS = "own MCP server"
    PIPELINE = "pipeline"
    SERVICE = "service"
    PROCESS = "process"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A file and a line (from 1; 0: the whole file), and the commit it was found in, if not in the working tree."""

    path: str
    line: int = 0
    commit: str = ""

    def __str__(self) -> str:
        at = f"{self.path}:{self.line}" if self.line else self.path
        return f"{at} in {self.commit[:10]}" if self.commit else at


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that acts, or that something acts with. `facts` are what was read about it: names, never values.

    `root` is the folder (or file) that was looked at; the place's path is below it.
    """

    noun: Noun
    name: str
    place: Place
    facts: Mapping[str, str] = field(default_factory=dict)
    uses: tuple[str, ...] = ()
    root: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Somebody who may answer for a thing, and where that is said; never taken for true. The heaviest is the best."""

    who: str
    source: str
    place: Place
    weight: int


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong. `rule` is stable; `fingerprint` tells two secrets apart and nothing else about them.
    `live` is what whoever should know said of it, if they were asked: `yes` or `no`.
    """

    rule: str
    severity: Severity
    place: Place
    what: str
    subject: str = ""
    fingerprint: str = ""
    live: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule is about, what to do, the control it serves, and where it is written."""

    id: str
    severity: Severity
    title: str
    fix: str
    control: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """Everything found in `files` files. `without` is what could not be looked at, and why."""

    things: tuple[Thing, ...]
    flaws: tuple[Flaw, ...]
    files: int
    without: tuple[str, ...] = ()

    @property
    def worst(self) -> Severity:
        """Of all flaws; `NOTE` when there is none."""
        return max((flaw.severity for flaw in self.flaws), default=Severity.NOTE)

    @property
    def ids(self) -> tuple[str, ...]:
        """What each thing is called by whoever wants it: the same for as long as it stands in the same file."""
        seen: Counter[tuple[str, str, str, str]] = Counter()
        found = []
        for thing in self.things:
            about = (thing.root, thing.noun.value, thing.place.path, thing.name)
            seen[about] += 1
            found.append(
                sha256("\0".join((*about[1:], str(seen[about]))).encode("utf-8", "surrogatepass")).hexdigest()[:10]
            )
        return tuple(found)

    @property
    def score(self) -> int:
        """100 is nothing to do. A rule costs what its worst place weighs, and a tenth of that for each further one."""
        worst: dict[str, list[int]] = {}
        for flaw in self.flaws:
            worst.setdefault(flaw.rule, []).append(_WEIGHT[flaw.severity])
        lost = sum(max(found) + min(len(found) - 1, 10) * max(found) // 10 for found in worst.values())
        return max(0, 100 - lost)


_WEIGHT = {Severity.NOTE: 0, Severity.LOW: 2, Severity.MEDIUM: 6, Severity.HIGH: 14, Severity.CRITICAL: 25}


def together(one: Scan, other: Scan) -> Scan:
    """Both, as one."""
    flaws = sorted({*one.flaws, *other.flaws}, key=lambda f: (-f.severity, f.rule, f.place, f.what))
    without = dict.fromkeys((*one.without, *other.without))
    return Scan((*one.things, *other.things), tuple(flaws), one.files + other.files, tuple(without))


def first_to_do(flaws: Iterable[Flaw], most: int = 3) -> Sequence[tuple[str, Sequence[Flaw]]]:
    """The rules to begin with: the worst first, and among these the one with the most places."""
    by_rule: dict[str, list[Flaw]] = {}
    for flaw in flaws:
        if flaw.severity > Severity.NOTE:
            by_rule.setdefault(flaw.rule, []).append(flaw)
    order = sorted(by_rule.items(), key=lambda item: (-max(f.severity for f in item[1]), -len(item[1]), item[0]))
    return order[:most]
