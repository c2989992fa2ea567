"""What was seen at work and nobody registered: identities that were refused, and tools that no entry names.

Anybody can make such things up, so what is kept of them is bounded, nothing is decided by it, and it is no part of the
log. That somebody dismissed one is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from .catalogue import Catalogue

LONGEST = 200


class ShadowKind(Enum):
    """CLIENT: a name that somebody gave and nothing proves. SUBJECT, WORKLOAD: proved by a federation or trust domain
    that is believed, and no agent's. TOOL: offered by a server, as an enforcement point saw. CALLER: refused there.
    """

    CLIENT = "client"
    SUBJECT = "subject"
    WORKLOAD = "workload"
    TOOL = "tool"
    CALLER = "caller"


# How many of each are kept: what a stranger can make up never takes the place of what was proved.
MOST: Mapping[ShadowKind, int] = {
    ShadowKind.CLIENT: 200,
    ShadowKind.SUBJECT: 500,
    ShadowKind.WORKLOAD: 500,
    ShadowKind.TOOL: 2000,
    ShadowKind.CALLER: 200,
}


@dataclass(frozen=True, slots=True)
class Sighting:
    """One time. `source` says where: a federation, a trust domain, an MCP server, an enforcement point."""

    kind: ShadowKind
    name: str
    source: str

    @property
    def id(self) -> str:
        """The same whenever it is seen."""
        about = "\0".join((self.kind.value, self.name[:LONGEST], self.source[:LONGEST]))
        return "shw-" + sha256(about.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Shadow:
    """One identity or tool, however often it was seen. Times in ms."""

    id: str
    kind: ShadowKind
    name: str
    source: str
    first_at: int
    last_at: int
    count: int


@dataclass(frozen=True, slots=True)
class Dismissal:
    """Row: somebody has looked at this one, and it need not be shown. Keyed by the shadow's id."""

    id: str
    kind: str
    name: str
    source: str
    dismissed_at: int
    dismissed_by: str
    note: str
    version: int = 0

    @property
    def key(self) -> str:
        return self.id


def counted(sightings: Iterable[Sighting], now: int) -> dict[str, Shadow]:
    """By id; names are cut, and what is not printable in them is replaced."""
    found: dict[str, Shadow] = {}
    for one in sightings:
        known = found.get(one.id)
        count = known.count + 1 if known else 1
        found[one.id] = Shadow(one.id, one.kind, _plain(one.name), _plain(one.source), now, now, count)
    return found


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:LONGEST])


def registered(one: Shadow, catalogue: Catalogue) -> bool:
    """Whether the catalogue in force knows it, so that it is no shadow."""
    if one.kind is ShadowKind.CLIENT:
        return one.name in catalogue.agents or catalogue.client(one.name) is not None
    if one.kind is ShadowKind.TOOL:
        return one.name in catalogue.tools
    if one.kind is ShadowKind.WORKLOAD:
        return any(rule.spiffe_id == one.name for agent in catalogue.agents.values() for rule in agent.attestations)
    return False
