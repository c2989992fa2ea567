"""From one identifier to all that it touched: breadth first, within bounds, and saying what was left out.

What something is called in an event proves nothing by itself: an agent may call a tool by the id of another's task. So
the walk goes along rows, and along events in which Remit itself wrote the identifier in the place that is its own.
Whoever may not see something does not pass through it either, and nothing counts it (law 11).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from remit.domain.approval import Approval
from remit.domain.errors import BadField
from remit.domain.task import Task

from .search import Searched, search
from .told import told

LONGEST = 1024
DEPTHS = range(1, 4)
NODES, EVENTS, OF_ONE, OF_SHARED, MENTIONED = 400, 2_000, 1_000, 20, 20
# What many tasks share, and how many steps of depth it takes to go through one.
STEPS = {
    "agent": 1,
    "person": 1,
    "secret": 1,
    "resource": 1,
    "key": 1,
    "address": 1,
    "purpose": 2,
    "tool": 2,
    "issuer": 2,
}


class Sight(Protocol):
    """What the caller may see: never more than the API gives them. `all` is whoever reads the whole log."""

    all: bool
    name: str

    async def task(self, row: Task) -> bool:
        """Whether this task is theirs to see."""
        ...

    async def approval(self, row: Approval) -> bool:
        """Whether this approval is."""
        ...

    async def entry(self, entry: Mapping[str, Any]) -> bool:
        """Whether this event is."""
        ...


@dataclass(frozen=True, slots=True)
class Node:
    """One thing that can be looked for, by its own name."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a node: `facts` now, where it leads to and how that is called, the words of its events, what of
    it is alive, and what was not looked at.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    links: Sequence[tuple[str, Node]] = ()
    words: Sequence[Sequence[str]] = ()
    live: Mapping[str, Any] | None = None
    cut: str = ""


class Known(Protocol):
    """Who knows things (`things`); None is what is not there, and what this caller may not see."""

    async def named(self, text: str) -> Sequence[Node]:
        """Everything that is called this."""
        ...

    async def about(self, node: Node) -> About | None:
        """One thing."""
        ...


@dataclass(frozen=True, slots=True)
class Thing:
    """One node of a story: how far from where it began, and by which way. At `depth` it is listed and not entered."""

    node: Node
    distance: int
    relation: str
    via: Node | None
    about: About


@dataclass(frozen=True, slots=True)
class Story:
    """`seeds` are what the identifier is; none: there is nothing called that, or nothing that the caller may see.

    `events` are in the order of the log. `mentioned` are places where somebody else said the identifier. `cut` says, in
    words, what was left out.
    """

    of: str
    depth: int
    seeds: tuple[Node, ...] = ()
    things: tuple[Thing, ...] = ()
    events: tuple[tuple[int, bytes], ...] = ()
    mentioned: tuple[tuple[int, bytes], ...] = ()
    cut: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> list[Thing]:
        """The things of one kind."""
        return [thing for thing in self.things if thing.node.kind == kind]


def checked(text: str) -> str:
    """The identifier as it is looked for, to the letter: no character in it means anything."""
    text = text.strip()
    if not text or len(text) > LONGEST:
        raise BadField("of", f"must be 1 to {LONGEST} characters")
    if not all(c.isprintable() for c in text):
        raise BadField("of", "has characters that cannot be seen")
    return text


async def story(log: Searched, known: Known, sight: Sight, text: str, *, depth: int = 1) -> Story:
    """The whole story of what is called `text`. Events are of what is nearer than `depth`."""
    of = checked(text)
    seeds = tuple(await known.named(of))
    if not seeds:
        return Story(of, depth)
    things, cut = await _walk(known, seeds, depth)
    events = await _events(log, sight, [one for one in things if one.distance < depth], cut)
    mentioned = await _mentioned(log, of, {place for place, _ in events}) if sight.all else ()
    if not sight.all:
        cut.append("Only what you may see is here. Tasks before the newest of a name were not looked through.")
    return Story(of, depth, seeds, tuple(things), events, mentioned, tuple(cut))


async def _walk(known: Known, seeds: Sequence[Node], depth: int) -> tuple[list[Thing], list[str]]:
    waiting: list[tuple[Node, int, str, Node | None]] = [(seed, 0, "", None) for seed in seeds]
    met, things, cut = set(seeds), list[Thing](), list[str]()
    while waiting:
        if len(things) == NODES:
            cut.append(f"{len(waiting)} more things were met and not looked at: a story has at most {NODES}.")
            break
        node, distance, relation, via = waiting.pop(0)
        about = await known.about(node)
        if about is None:
            continue
        await asyncio.sleep(0)  # decisions go first
        things.append(Thing(node, distance, relation, via, about))
        if distance >= depth:
            continue
        if about.cut:
            cut.append(about.cut)
        onward = distance + (0 if node in seeds else STEPS.get(node.kind, 0))
        if onward > depth:
            continue
        for said, link in about.links:
            if link not in met:
                met.add(link)
                waiting.append((link, onward, said, node))
        waiting.sort(key=lambda one: one[1])
    return things, cut


async def _events(
    log: Searched, sight: Sight, things: Sequence[Thing], cut: list[str]
) -> tuple[tuple[int, bytes], ...]:
    found: dict[int, bytes] = {}
    for thing in things:
        for words in thing.about.words:
            if len(found) >= EVENTS:
                cut.append(f"A story has at most {EVENTS:,} events; those of {thing.node.kind} {thing.node.id} and of")
                cut[-1] += " what comes after it are not all here. Look for it by itself, or at a part of it."
                return tuple(sorted(found.items()))
            if len(words) == 1 and words == [thing.node.id] and _begun(thing.node, found.values()):
                continue  # all of it was found by the word that nobody else can say
            most = OF_SHARED if thing.via and thing.node.kind in STEPS else OF_ONE
            mine, more = await _newest(log, words, min(most, EVENTS - len(found)))
            said = [(place, leaf, json.loads(leaf)) for place, leaf in mine]
            shown = [
                (place, leaf) for place, leaf, one in said if _own(thing.node, one, words) and await sight.entry(one)
            ]
            found.update(shown)
            if more and shown:
                cut.append(f"Of {thing.node.kind} {thing.node.id} the newest {len(shown):,} events are here, not all.")
            await asyncio.sleep(0)
    return tuple(sorted(found.items()))


def _begun(node: Node, leaves: Iterable[bytes]) -> bool:
    wanted = f'"task":"{node.id}"'.encode()
    return any(wanted in leaf and leaf.startswith(b'{"v":1,"type":"TaskProposed"') for leaf in leaves)


def _own(node: Node, entry: Mapping[str, Any], words: Sequence[str]) -> bool:
    """What an agent can say, the name of a tool or a purpose that there is not, is believed only as that."""
    data, type_ = entry["data"], entry["type"]
    if len(words) == 1:
        return " " in words[0] or words[0] in (data.get("task"), data.get("child"))
    if type_ == "AccessDecided":
        return str(data.get("resource" if node.kind == "resource" else "tool")) == words[1]
    return type_ != "ProposalDenied" or str(data.get(node.kind)) == node.id


async def _newest(log: Searched, words: Sequence[str], limit: int) -> tuple[list[tuple[int, bytes]], bool]:
    """The newest events with these words, and whether there are older ones; so many pages at most."""
    found: list[tuple[int, bytes]] = []
    before = 0
    for _ in range(4):
        page = await search(log, words, before=before, limit=limit - len(found))
        found += page.entries
        before = page.next
        if not before or len(found) >= limit:
            break
    return found, bool(before)


async def _mentioned(log: Searched, of: str, own: set[int]) -> tuple[tuple[int, bytes], ...]:
    """Events in which somebody said it, and which are not its own."""
    if any(c.isspace() for c in of):
        return ()
    found = await search(log, [of], limit=MENTIONED * 2)
    return tuple(one for one in found.entries if one[0] not in own)[:MENTIONED]


def line(entry: tuple[int, bytes], credentials: Mapping[str, str]) -> dict[str, Any]:
    """One event of a story in words. `credentials` are the names of leases' credentials."""
    place, leaf = entry
    said = json.loads(leaf)
    data = said["data"]
    credential = credentials.get(str(data.get("lease", "")), "a credential")
    decision = str(data.get("decision", "")) or ("deny" if str(said["type"]).endswith("Denied") else "")
    named = {name: str(data.get(name, "")) for name in ("task", "agent", "approval", "lease")}
    head = {"index": place, "at": said["at"], "by": said["by"], "type": said["type"]}
    return {**head, **told(said, credential), **named, "decision": decision}
