"""One event of an edge's log as it is reported: its leaf, and the bodies of the rows that it wrote; strictly.

Whoever is there may be hostile. Of a leaf only the event, when, and the trace are taken; of a task's body only what an
edge decides; and each body must be the one that the leaf says it wrote. A field that is not there has its default, as
in every row's body (`row_body`).
"""

from __future__ import annotations

import dataclasses
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from remit.domain.errors import BadField
from remit.domain.estate import HOUSEKEEPING
from remit.domain.events import AccessDecided, ResultObserved
from remit.domain.flow import Label, Sensitivity, Trust
from remit.domain.origin import DIGEST, Observation
from remit.domain.task import Task

from . import json_input

LEAF_LIMIT = 16_384
BODY_LIMIT = 262_144
_TRACE = re.compile(r"[0-9a-f]{32}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_WORD = re.compile(r"[a-z_]{0,32}\Z")
E = TypeVar("E", AccessDecided, ResultObserved)


class _Leaf(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    type: str
    at: int
    by: str
    trace: str
    data: dict[str, Any]
    writes: list[tuple[str, str, int, str]]


class _Label(msgspec.Struct, forbid_unknown_fields=True):
    trust: int = Label().trust.value
    sensitivity: int = Label().sensitivity.value
    sources: list[str] = []


class _Task(msgspec.Struct):
    id: str
    calls: int = 0
    observed: int = 0
    uses: dict[str, int] = {}
    label: _Label = msgspec.field(default_factory=_Label)


class _Observation(msgspec.Struct, forbid_unknown_fields=True):
    task: str
    number: int
    tool: str
    trust: int
    sensitivity: int
    at: int
    trusted: str = ""
    untrusted: str = ""
    whole: bool = True
    root: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What one place of an edge's log holds. `event` None: housekeeping, which concerns the edge alone.

    `grown` puts what the edge decides of a task into the row that is here; None when the event wrote no task.
    """

    kind: str
    at: int
    trace: str
    event: AccessDecided | ResultObserved | None = None
    task: _Task | None = None
    observation: Observation | None = None

    def grown(self, task: Task) -> Task | None:
        """The task as its edge says it is."""
        said = self.task
        if said is None:
            return None
        label = Label(Trust(said.label.trust), Sensitivity(said.label.sensitivity), tuple(said.label.sources))
        return dataclasses.replace(
            task, id=said.id, label=label, calls=said.calls, observed=said.observed, uses=said.uses
        )


def parse(leaf: bytes, bodies: Sequence[bytes]) -> Told:
    """Read one place; every flaw is a `BadField`, `Malformed` or `TooLarge` in our own words."""
    found = json_input.typed(json_input.parse(leaf, limit=LEAF_LIMIT), _Leaf)
    if found.v != 1 or found.at < 0:
        raise BadField("leaf", "is of another version, or of no time")
    trace = found.trace if _TRACE.match(found.trace) else ""
    if found.type in HOUSEKEEPING:
        return Told(found.type, found.at, trace)
    if found.type not in ("AccessDecided", "ResultObserved"):
        raise BadField("type", "is nothing that an edge reports")
    event = _decided(found.data) if found.type == "AccessDecided" else _event(found.data, ResultObserved)
    rows = _rows(found.writes, bodies)
    task = json_input.typed(json_input.parse(rows.pop("Task"), limit=BODY_LIMIT), _Task) if "Task" in rows else None
    if task is not None:
        _check_task(task)
    observation = _observation(rows.pop("Observation")) if "Observation" in rows else None
    if rows:
        raise BadField("writes", "has a row that an edge does not report")
    return Told(found.type, found.at, trace, event, task, observation)


def _rows(writes: Sequence[tuple[str, str, int, str]], bodies: Sequence[bytes]) -> dict[str, bytes]:
    if len(writes) != len(bodies):
        raise BadField("bodies", "are not as many as the rows it wrote")
    found: dict[str, bytes] = {}
    for (kind, _, _, digest), body in zip(writes, bodies, strict=True):
        if kind in found or sha256(body).hexdigest() != digest:
            raise BadField("bodies", "are not what the leaf says it wrote")
        found[kind] = body
    return found


def _event(data: Mapping[str, Any], kind: type[E]) -> E:
    known = {field.name for field in dataclasses.fields(kind)}
    if data.keys() - known:
        raise BadField("data", "has a field that there is not")
    if any(isinstance(value, str) and len(value) > 256 for value in data.values()):
        raise BadField("data", "has a text that is too long")
    return json_input.typed(data, kind)


def _decided(data: Mapping[str, Any]) -> AccessDecided:
    event = _event(data, AccessDecided)
    lists = (event.reasons, event.policies, event.controls)
    if any(len(words) > 64 or any(len(word) > 128 for word in words) for words in lists):
        raise BadField("data", "has a list that is too long")
    if not _DIGEST.match(event.access) or len(event.tool) > 128:
        raise BadField("data", "names no access, or its tool is too long")
    if not all(map(_WORD.match, (event.trust, event.sensitivity, event.origin, event.carries))):
        raise BadField("data", "has a word that is none of ours")
    return event


def _check_task(task: _Task) -> None:
    _ranks(task.label.trust, task.label.sensitivity)
    if not 0 <= task.calls < 2**53 or not 0 <= task.observed < 2**53 or any(n < 0 for n in task.uses.values()):
        raise BadField("task", "has a counter that is none")


def _ranks(trust: int, sensitivity: int) -> None:
    if trust not in {*Trust} or sensitivity not in {*Sensitivity}:
        raise BadField("label", "has a rank that there is not")


def _observation(body: bytes) -> Observation:
    row = json_input.typed(json_input.parse(body, limit=BODY_LIMIT), _Observation)
    _ranks(row.trust, row.sensitivity)
    try:
        trusted, untrusted = b64decode(row.trusted, validate=True), b64decode(row.untrusted, validate=True)
    except (NotBase64, ValueError) as bad:
        raise BadField("observation", "has digests that are not base64") from bad
    if len(trusted) % DIGEST or len(untrusted) % DIGEST:
        raise BadField("observation", "has digests that are cut short")
    return Observation(
        row.task,
        row.number,
        row.tool,
        Trust(row.trust),
        Sensitivity(row.sensitivity),
        row.at,
        trusted,
        untrusted,
        row.whole,
        row.root,
    )
