"""Where the values of a call came from: what decides whether an injected instruction has any power.

    STATED ◄ TRUSTED ◄ INVENTED ◄ UNTRUSTED         (worse to the right)

STATED: the initiator said it, in a parameter or in the goal. TRUSTED: this task read it where only trusted parties
write. INVENTED: nobody said it and nobody is known to have written it. UNTRUSTED: this task read it where anybody could
have written it; one such place is enough, wherever else it stands. A call is as bad as the worst value that matters.

No data is kept. An observation holds keyed digests of the values in it; the key is the task's own, and the digests are
forgotten when the task has settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import reduce

from .flow import Label, Sensitivity, Trust

DIGEST = 8  # bytes of each digest
BY_INITIATOR = "stated"


class Origin(IntEnum):
    """Greater is worse."""

    STATED = 0
    TRUSTED = 1
    INVENTED = 2
    UNTRUSTED = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Traced:
    """The origin of one value, and the tools whose outputs it was read in; what was stated has the source `stated`."""

    origin: Origin
    sources: tuple[str, ...] = ()

    def __or__(self, other: Traced) -> Traced:
        """Both are needed: the worse of them, from everywhere."""
        return Traced(max(self.origin, other.origin), tuple(sorted({*self.sources, *other.sources})))


def worst(traced: Iterable[Traced]) -> Traced | None:
    """The join of all; None when there is nothing to judge."""
    found = list(traced)
    return reduce(lambda a, b: a | b, found) if found else None


def word(traced: Traced | None) -> str:
    """What policies are told: `none`, `stated`, `trusted`, `invented` or `untrusted`."""
    return traced.origin.word if traced else "none"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of one call's values: each argument that matters, and what its free text carries."""

    arguments: Mapping[str, Traced] = field(default_factory=dict)
    carried: Traced | None = None

    @property
    def worst(self) -> Traced | None:
        """Of the arguments that matter."""
        return worst(self.arguments.values())


NOTHING_TRACED = Provenance()


@dataclass(frozen=True, slots=True)
class Observation:
    """Row: one result that a task has read. `trusted` and `untrusted` are concatenated digests of the values in it,
    by who could have written them. `whole` false: it had more values than are kept, so what is not found may be in it.
    `root` is the task the hand-off hangs from, whose whole subtree reads together.
    """

    task: str
    number: int
    tool: str
    trust: Trust
    sensitivity: Sensitivity
    at: int
    trusted: bytes = b""
    untrusted: bytes = b""
    whole: bool = True
    root: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return f"{self.task}/{self.number:06d}"

    @property
    def values(self) -> int:
        """How many digests are kept."""
        return (len(self.trusted) + len(self.untrusted)) // DIGEST

    def label(self) -> Label:
        """What having read it means."""
        return Label(self.trust, self.sensitivity, (self.tool,))

    def forgotten(self) -> Observation:
        """Its task has settled; nothing will be traced to it."""
        return replace(self, trusted=b"", untrusted=b"")
