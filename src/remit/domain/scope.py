"""The algebra of what a task may touch.

Scopes form a meet-semilattice. `a & b` permits exactly what both permit, so handing work
from agent to agent can only narrow it. Nothing here, or anywhere, joins two scopes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, reduce
from typing import TypeAlias

from .errors import BadField
from .flow import Json, Sensitivity
from .origin import Origin, Traced
from .tool import as_decimal, canonical_scalar


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which resources: path segments, `*` for exactly one, and `open_` for everything below as well.

    Written `repo/a`, `repo/*` or `repo/a/**`. `repo/a` covers neither `repo/ab` nor `repo/a/b`.
    """

    segments: tuple[str, ...]
    open_: bool = False

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Parse; raises `BadField` for empty segments or a `**` that is not last."""
        if len(text) > 1024:
            raise BadField("resource", "longer than 1024 characters")
        parts = text.split("/")
        open_ = parts[-1] == "**"
        segments = tuple(parts[:-1] if open_ else parts)
        if any(s in ("", ".", "..", "**") or ("*" in s and s != "*") for s in segments):
            raise BadField("resource", "segments may not be empty, '.', '..', or mix '*' with text; '**' only last")
        return cls(segments, open_)

    def covers(self, resource: str) -> bool:
        """Tell whether a concrete resource path lies within."""
        parts = resource.split("/")
        if len(parts) < len(self.segments) or (len(parts) > len(self.segments) and not self.open_):
            return False
        return all(s in ("*", part) for s, part in zip(self.segments, parts, strict=False))

    def __and__(self, other: Pattern) -> Pattern | None:
        """The resources both cover, or None when there are none."""
        short, long = (self, other) if len(self.segments) <= len(other.segments) else (other, self)
        if len(short.segments) < len(long.segments) and not short.open_:
            return None
        unified: list[str] = []
        for a, b in zip(short.segments, long.segments, strict=False):
            if a != b and "*" not in (a, b):
                return None
            unified.append(b if a == "*" else a)
        rest = long.segments[len(short.segments) :]
        open_ = long.open_ and (short.open_ or bool(rest))
        return Pattern((*unified, *rest), open_)

    def __str__(self) -> str:
        return "/".join((*self.segments, "**") if self.open_ else self.segments)


@dataclass(frozen=True, slots=True)
class OneOf:
    """The argument is one of these texts (whole numbers and booleans by their JSON spelling)."""

    values: frozenset[str]

    def permits(self, value: Json) -> bool:
        """An absent or structured value is never one of them."""
        return canonical_scalar(value) in self.values


@dataclass(frozen=True, slots=True)
class Between:
    """The argument is a decimal within these bounds, both included."""

    least: Decimal
    most: Decimal

    def permits(self, value: Json) -> bool:
        """Anything but a whole number or plain decimal text is outside."""
        number = as_decimal(value)
        return number is not None and self.least <= number <= self.most


@dataclass(frozen=True, slots=True)
class Matching:
    """The argument is text of at most 4096 characters that this pattern matches whole."""

    pattern: str

    def permits(self, value: Json) -> bool:
        """Only text can match."""
        return isinstance(value, str) and len(value) <= 4096 and bool(_compiled(self.pattern).fullmatch(value))


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@dataclass(frozen=True, slots=True)
class From:
    """Every value in the argument was stated by the initiator (`stated`) or read, where only trusted parties write, in
    the output of one of these tools, and nowhere else."""

    sources: frozenset[str]

    def allows(self, traced: Traced | None) -> bool:
        """What could not be traced came from nowhere that is allowed."""
        return traced is not None and traced.origin <= Origin.TRUSTED and self.sources.issuperset(traced.sources)


Constraint: TypeAlias = OneOf | Between | Matching | From


@dataclass(frozen=True, slots=True)
class Bound:
    """A constraint on one named argument. An absent argument satisfies nothing."""

    argument: str
    constraint: Constraint

    def permits(self, attempt: Attempt) -> bool:
        """Absent is not 'any'."""
        if self.argument not in attempt.arguments:
            return False
        if isinstance(self.constraint, From):
            return self.constraint.allows(attempt.traced.get(self.argument))
        return self.constraint.permits(attempt.arguments[self.argument])


@dataclass(frozen=True, slots=True)
class Grant:
    """One tool, on resources within `pattern`, with every bound satisfied."""

    tool: str
    pattern: Pattern
    bounds: frozenset[Bound] = frozenset()

    def permits(self, attempt: Attempt) -> bool:
        """Tell whether this grant alone lets the attempt through."""
        return (
            self.tool == attempt.tool
            and self.pattern.covers(attempt.resource)
            and all(bound.permits(attempt) for bound in self.bounds)
        )

    def __and__(self, other: Grant) -> Grant | None:
        """What both grant, or None."""
        if self.tool != other.tool:
            return None
        pattern = self.pattern & other.pattern
        return None if pattern is None else Grant(self.tool, pattern, self.bounds | other.bounds)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What scopes judge: a concrete action with everything the catalogue says of it."""

    tool: str
    resource: str
    arguments: Mapping[str, Json]
    sensitivity: Sensitivity
    environment: str
    at: int
    traced: Mapping[str, Traced] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be done, to what, up to which sensitivity, where, until when (ms)."""

    grants: frozenset[Grant]
    sensitivity: Sensitivity
    environments: frozenset[str]
    until: int

    def __and__(self, other: Scope) -> Scope:
        """Exactly what both permit."""
        both = (a & b for a in self.grants for b in other.grants)
        return Scope(
            frozenset(grant for grant in both if grant is not None),
            min(self.sensitivity, other.sensitivity),
            self.environments & other.environments,
            min(self.until, other.until),
        )

    def permits(self, attempt: Attempt) -> bool:
        """Tell whether the attempt is inside, at the attempt's own instant."""
        return self.outside(attempt) == ""

    def outside(self, attempt: Attempt) -> str:
        """Say, for a person, what puts the attempt outside; empty when it is inside."""
        if attempt.at >= self.until:
            return "its time is over"
        if attempt.environment not in self.environments:
            return f"environment {attempt.environment} is not part of it"
        if attempt.sensitivity > self.sensitivity:
            return f"{attempt.sensitivity.word} data is above its ceiling of {self.sensitivity.word}"
        candidates = [grant for grant in self.grants if grant.tool == attempt.tool]
        if not candidates:
            return f"tool {attempt.tool} is not part of it"
        if any(grant.permits(attempt) for grant in candidates):
            return ""
        covering = [grant for grant in candidates if grant.pattern.covers(attempt.resource)]
        if not covering:
            return f"resource {attempt.resource} is not part of it"
        failed = sorted({b.argument for g in covering for b in g.bounds if not b.permits(attempt)})
        return f"{', '.join(failed)} is not what this task was asked for"

    def sourced(self, tool: str) -> frozenset[str]:
        """The arguments of a tool whose origin this scope asks about."""
        bounds = (bound for grant in self.grants if grant.tool == tool for bound in grant.bounds)
        return frozenset(bound.argument for bound in bounds if isinstance(bound.constraint, From))


NOTHING = Scope(frozenset(), Sensitivity.PUBLIC, frozenset(), 0)


def meet(scopes: Iterable[Scope]) -> Scope:
    """The meet of all; no scopes at all is nothing, never everything."""
    found = list(scopes)
    return reduce(lambda a, b: a & b, found) if found else NOTHING
