"""Who acted for whom. Effective scope is derived from the chain and stored nowhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .scope import Scope, meet


class PrincipalKind(Enum):
    """What began a task."""

    PERSON = "person"
    AGENT = "agent"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Principal:
    """The initiator: a person, an agent acting on its own goal, or an outside event."""

    kind: PrincipalKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}"


@dataclass(frozen=True, slots=True)
class Hop:
    """One agent acting within one task."""

    agent: str
    task: str


@dataclass(frozen=True, slots=True)
class Chain:
    """From the initiator outwards; the last hop is the one who acts (outermost `act`, RFC 8693 section 4.1)."""

    initiator: Principal
    hops: tuple[Hop, ...]

    @property
    def depth(self) -> int:
        """Hand-offs so far: 0 for an agent working for its initiator directly."""
        return len(self.hops) - 1

    def agents(self) -> tuple[str, ...]:
        """Everybody who acts in it, in order."""
        return tuple(hop.agent for hop in self.hops)

    def involves(self, name: str) -> bool:
        """Tell whether this name began the chain or acts in it; such a one may not approve (law 7)."""
        return name == self.initiator.name or name in self.agents()

    def then(self, hop: Hop) -> Chain:
        """Hand on; a task that is already in the chain is a loop and is refused by `ValueError`."""
        if any(h.task == hop.task for h in self.hops):
            raise ValueError("a chain cannot pass through the same task twice")
        return Chain(self.initiator, (*self.hops, hop))


def effective(scopes: Iterable[Scope]) -> Scope:
    """The scope of a chain: never wider than any of its hops (law 2)."""
    return meet(scopes)
