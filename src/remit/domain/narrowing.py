"""What an agent may not use any more though the catalogue grants it, because a review found that it never did.

It only takes away (law 2), and lasts until the catalogue follows, or somebody who answers for the agent keeps it all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .purpose import Purpose
from .scope import Scope


@dataclass(frozen=True, slots=True, order=True)
class Entitlement:
    """One thing that an agent may have or do: `kind` is `tool` or `credential`, under this purpose."""

    purpose: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.purpose} {self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Row, keyed by the agent. No row, or nothing in `without`: nothing is taken away."""

    agent: str
    without: tuple[Entitlement, ...] = ()
    since: int = 0
    by: str = ""
    reason: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.agent

    def scope(self, purpose: str, scope: Scope) -> Scope:
        """What is left of it for a task of this purpose."""
        gone = {held.name for held in self.without if (held.purpose, held.kind) == (purpose, "tool")}
        return replace(scope, grants=frozenset(one for one in scope.grants if one.tool not in gone)) if gone else scope

    def withholds(self, purpose: str, credential: str) -> bool:
        """Whether a task of this purpose is not issued this credential."""
        return Entitlement(purpose, "credential", credential) in self.without

    def and_without(self, more: Iterable[Entitlement], now: int, by: str, reason: str) -> Narrowing:
        """More is taken away, and nothing given back."""
        together = tuple(sorted({*self.without, *more}))
        return replace(self, without=together, since=now, by=by, reason=reason)


def beneath(agent: str, purposes: Mapping[str, Purpose]) -> tuple[tuple[str, str], ...]:
    """Where the open tasks are that may rest on what this agent has: its own, and what these hand on to, and so on.

    A column of tasks and the value in it (`domain.redecision`).
    """
    found: set[str] = set()
    left = {name for name, one in purposes.items() if agent in one.agents}
    while left:
        rules = purposes[left.pop()].delegations
        below = {name for rule in rules for name in rule.purposes if name in purposes} - found
        found |= below
        left |= below
    return (("agent", agent), *(("purpose", name) for name in sorted(found)))
