"""What a mechanism is, and what can be said of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from remit.domain.catalogue import Catalogue, CatalogueHead
from remit.domain.finding import Finding
from remit.domain.freeze import Frozen
from remit.domain.keys import Rotation, SigningKey
from remit.domain.purpose import Profile, Purpose
from remit.domain.restore import Restored
from remit.domain.secret import SealedSecret
from remit.domain.stream import Stream
from remit.govern.estate import EdgeShown
from remit.policy.reading import PolicyInfo

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
LATE = 5 * MINUTE  # what was due longer ago than this, nobody is doing


class State(Enum):
    """PARTLY: somewhere it is not, or it is weakened. What it is then says where."""

    ON = "in force"
    PARTLY = "partly in force"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a mechanism is now: the state, that in words with the figures it was seen by, and what should have been done
    by now and was not.
    """

    state: State
    says: str
    overdue: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Present:
    """The rows and the configuration as they are, as far as mechanisms are seen by them. Lists stop at a thousand.

    `late` counts rows of a kind that were due `LATE` ago. `ending` is, by issuer, since when the oldest credential that
    its issuer could take back waits to die. `long_keys` are people's bearer keys that are good for more than a year.
    `signed` says what is wrong with the newest checkpoint, or nothing; `unsequenced_since` is when the oldest event
    was made that has no place in the log (0: there is none). Instants in ms.
    """

    now: int
    head: CatalogueHead
    catalogue: Catalogue
    policies: tuple[PolicyInfo, ...]
    asks_posture: bool
    frozen: Frozen
    gone: frozenset[str]
    late: Mapping[str, int]
    ending: Mapping[str, int]
    down: Mapping[str, int]
    redeciding_since: int
    secrets: Sequence[SealedSecret]
    long_keys: Sequence[str]
    keys: Sequence[SigningKey]
    rotation: Rotation
    findings: Sequence[Finding]
    streams: Sequence[Stream]
    edges: Sequence[EdgeShown]
    restored: Restored | None
    grades: Mapping[str, str]
    signed: str
    size: int
    unsequenced_since: int

    @property
    def holding(self) -> list[PolicyInfo]:
        """Policies that make something wait for people."""
        return [info for info in self.policies if info.approvers]

    @property
    def watched(self) -> list[str]:
        """Purposes under which what policies hold or forbid happens all the same."""
        return [name for name, one in sorted(self.catalogue.purposes.items()) if one.profile is Profile.WATCH]

    def purposes(self, lacking: Callable[[Purpose], bool]) -> list[str]:
        """Names of the purposes of which this is so."""
        return [name for name, one in sorted(self.catalogue.purposes.items()) if lacking(one)]


@dataclass(frozen=True, slots=True)
class Mechanism:
    """`does` is what it enforces, in a sentence. `acts` are the words of `formats.log_words` by which its acts are
    counted: no event has two of them. The empty word is every event.
    """

    id: str
    does: str
    acts: tuple[str, ...]
    now: Callable[[Present], Standing]


def on(says: str, *overdue: str) -> Standing:
    """In force; what is overdue makes that no less so, and is said."""
    return Standing(State.ON, says, overdue)


def partly(says: str, *overdue: str) -> Standing:
    """Somewhere it is not, or it is weakened."""
    return Standing(State.PARTLY, says, overdue)


def off(says: str) -> Standing:
    """Nothing is enforced by it now."""
    return Standing(State.OFF, says)


def each(lacking: Sequence[str], of: int, lack: str, have: str) -> Standing:
    """ON when none lacks it, OFF when all do, else PARTLY; the first twenty that lack it are named."""
    if not lacking:
        return on(have)
    named = ", ".join(lacking[:20]) + (f" and {len(lacking) - 20} more" if len(lacking) > 20 else "")
    return off(f"{lack}: {named}") if len(lacking) == of else partly(f"{lack}: {named}")


def some(count: int, noun: str, plural: str = "") -> str:
    """`1 tool`, `3 tools`."""
    return f"{count:,} {noun if count == 1 else plural or noun + chr(115)}"


def for_long(since: int, now: int) -> str:
    """`3 days`, `5 hours`, `7 minutes`."""
    if now - since < MINUTE:
        return "less than a minute"
    size, noun = next(
        (s, n) for s, n in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")) if now - since >= s or n == "minute"
    )
    return some(max(0, now - since) // size, noun)
