"""What an agent may not use any more though the catalogue grants it, because a review found that it never did.

It only takes away (law 2), and lasts until the catalogue follows, or somebody who answers for the agent keeps it all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .scope import Scope


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """One thing that an agent may have or do: `kind` is `tool` or `credential`, under this purpose."""

    purpose: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Row, keyed by the agent. No row, or nothing in `without`: nothing is taken away."""

    agent: str
    without: tuple[Held, ...] = ()
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
        return Held(purpose, "credential", credential) in self.without

    def and_without(self, more: Iterable[Held], now: int, by: str, reason: str) -> Narrowing:
        """More is taken away, and nothing given back."""
        together = tuple(sorted({*self.without, *more}))
        return replace(self, without=together, since=now, by=by, reason=reason)
