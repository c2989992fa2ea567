"""Check a store that nobody serves from: its log, its tables against its events, its keys under the root key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from remit.domain.errors import BadToken, ProofInvalid
from remit.domain.keys import SigningKey
from remit.formats import base64url
from remit.formats.record import Kind
from remit.formats.tlog import Checkpoint, NoteKey, parse_checkpoint
from remit.log.audit import Head, audit
from remit.ports import LogReader, Reader, Sealer
from remit.store.replay import replay
from remit.verbs.rewrap import ENVELOPES

PAGE = 1000


class Checkable(LogReader, Reader, Protocol):
    """What a check reads of a store."""

    async def history(self, after: int, limit: int) -> Sequence[tuple[int, bytes, bytes]]: ...

    async def bodies(self, kind: Kind) -> Mapping[str, bytes]: ...


@dataclass(frozen=True)
class Checked:
    """`problems` in words, none if it is good; the log's size and root (hex), and how many envelopes were opened."""

    size: int
    root: str
    opened: int
    problems: tuple[str, ...]


async def log_keys(store: Reader, log_name: str) -> list[NoteKey]:
    """The keys that signed checkpoints of this log, also those that are over."""
    rows = await store.find(SigningKey, {"use": "log"}, limit=1000)
    return [NoteKey(log_name, base64url.decode(_x(row.public))) for row in rows]


async def head_of(store: Checkable, log_name: str) -> Checkpoint | None:
    """The newest checkpoint, its signature verified; None of an empty log. Raises `ProofInvalid`."""
    _, note = await store.head()
    return parse_checkpoint(note, await log_keys(store, log_name), origin=log_name) if note else None


async def check_store(store: Checkable, sealer: Sealer, log_name: str, older: Sequence[str] = ()) -> Checked:
    """Everything that can be told without a server. `older` are checkpoints that somebody kept (signed notes)."""
    problems: list[str] = []
    keys = await log_keys(store, log_name)
    try:
        head = await head_of(store, log_name)
        heads = [parse_checkpoint(note, keys, origin=log_name) for note in older]
    except ProofInvalid as bad:
        return Checked(0, "", 0, (f"the log's checkpoint: {bad}",))
    if head is not None:
        entries: list[bytes] = []
        while len(entries) < head.size and (page := await store.entries(len(entries), len(entries) + PAGE)):
            entries += page
        found = audit(entries, Head(head.size, head.root), [Head(one.size, one.root) for one in heads])
        problems += [] if found.ok else [f"the log: {found.problem}"]
    problems += await replay(store)
    opened = 0
    for kind, fields in ENVELOPES.items():
        async for row in _every(store, kind):
            for envelope in filter(None, (getattr(row, name) for name in fields)):
                try:
                    sealer.rewrap(envelope)
                    opened += 1
                except BadToken:
                    problems.append(f"{kind.__name__} {row.key} does not open under this root key")
    return Checked(head.size if head else 0, head.root.hex() if head else "", opened, tuple(problems))


async def _every(store: Reader, kind: type[Any]) -> AsyncIterator[Any]:
    after = ""
    while rows := await store.find(kind, {}, after=after, limit=PAGE):
        for row in rows:
            yield row
        after = rows[-1].key


def _x(public: str) -> str:
    return dict(part.split("=", 1) for part in public.split(" "))["x"]
