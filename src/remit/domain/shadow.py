"""What was seen at work and nobody registered: identities that were refused, and tools that no entry names.

Anybody can make such things up, so what is kept of them is bounded, nothing is decided by it, and it is no part of the
log. That somebody dismissed one is.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256

from .catalogue import Catalogue

LONGEST = 200
KEPT = 90 * 86_400_000  # ms after it was last seen


class ShadowKind(Enum):
    """CLIENT: a name that somebody gave and nothing proves. SUBJECT, WORKLOAD: proved by a federation or trust domain
    that is believed, and no agent's. TOOL: offered by a server, as an enforcement point saw. CALLER: refused there.
    """

    CLIENT = "client"
    SUBJECT = "subject"
    WORKLOAD = "workload"
    TOOL = "tool"
    CALLER = "caller"


# How many of each are kept by one reporter: what a stranger can make up never takes the place of what was proved, and
# what one reporter says never that of what another said.
MOST: Mapping[ShadowKind, int] = {
    ShadowKind.CLIENT: 200,
    ShadowKind.SUBJECT: 300,
    ShadowKind.WORKLOAD: 300,
    ShadowKind.TOOL: 500,
    ShadowKind.CALLER: 100,
}


@dataclass(frozen=True, slots=True)
class Sighting:
    """One time. `source` says where: a federation, a trust domain, an MCP server, an address of a gateway. `reporter`
    says by whose word: a federation, a trust domain, an enforcement point; empty where it is the caller's own.
    """

    kind: ShadowKind
    name: str
    source: str
    reporter: str = ""

    @property
    def id(self) -> str:
        """The same whenever it is seen, and whoever says so."""
        about = "\0".join((self.kind.value, self.name[:LONGEST], self.source[:LONGEST]))
        return "shw-" + sha256(about.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Shadow:
    """One identity or tool, however often it was seen; `reporter` was the first who said so. Times in ms."""

    id: str
    kind: ShadowKind
    name: str
    source: str
    reporter: str
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


def counted(sightings: Iterable[tuple[Sighting, int]], now: int) -> list[Shadow]:
    """Each once, with how often it was seen; names are cut, and what is not printable in them is replaced."""
    found: dict[str, Shadow] = {}
    for one, times in sightings:
        texts = (_plain(one.name), _plain(one.source), _plain(one.reporter))
        known = found.setdefault(one.id, Shadow(one.id, one.kind, *texts, now, now, 0))
        found[one.id] = replace(known, count=known.count + times)
    return list(found.values())


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:LONGEST])


def unregistered(found: Iterable[Shadow], catalogue: Catalogue) -> list[Shadow]:
    """Those that the catalogue in force does not know. A subject is known by a rule that names it whole."""
    rules = [rule for agent in catalogue.agents.values() for rule in agent.attestations]
    subjects = {f"{rule.federation} {sub}" for rule in rules if isinstance(sub := rule.claims.get("sub"), str)}
    known: Mapping[ShadowKind, Container[str]] = {
        ShadowKind.CLIENT: {*catalogue.agents, *(rule.client for rule in rules)},
        ShadowKind.SUBJECT: subjects,
        ShadowKind.WORKLOAD: {rule.spiffe_id for rule in rules},
        ShadowKind.TOOL: catalogue.tools,
        ShadowKind.CALLER: (),
    }

    def named(one: Shadow) -> str:
        return f"{one.source} {one.name}" if one.kind is ShadowKind.SUBJECT else one.name

    return [one for one in found if named(one) not in known[one.kind]]
