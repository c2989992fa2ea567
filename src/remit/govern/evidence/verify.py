"""A report checked by somebody who trusts nobody, offline: it needs the file and the log's key, and nothing else.

1. It has the shape of a report, and nothing more.
2. Its checkpoint is signed by the log's key.
3. An event of that log, under that checkpoint, has the report's digest: nothing was altered since it was given.
4. Every event that it carries is in that log, at its place.
5. Every claim follows from those events: they are what they are counted for, and no count is less than what is shown.
6. Every verdict, and the summary, follows from the claims.

Counts are of more events than a file can carry. Whoever has the log counts again (`recounted`); whoever has not
believes the server in this, which has signed for it. What is in force is what the server saw of itself when it was
asked.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from remit import __version__
from remit.domain.errors import ProofInvalid, Refusal
from remit.formats import jcs, json_input
from remit.formats.log_words import words
from remit.formats.tlog import Checkpoint, NoteKey, parse_checkpoint
from remit.log.audit import Head, audit
from remit.log.merkle import leaf_hash, verify_inclusion

from .acts import NEWEST, has, made_at
from .frameworks import NAMES, framework
from .mechanism import State
from .report import TYPE, acted, judged, summed

LIMIT = 64 * 1024 * 1024


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Act(_Strict, frozen=True):
    word: str
    count: int
    newest: list[int]


class _Mechanism(_Strict, frozen=True):
    does: str
    state: str
    says: str
    overdue: list[str]
    acts: list[_Act]
    acted: int
    last: int
    last_at: int


class _Control(_Strict, frozen=True):
    id: str
    title: str
    by: list[str]
    remains: str
    why_not: str
    status: str


class _Framework(_Strict, frozen=True):
    id: str
    name: str
    source: str
    scope: str
    controls: list[_Control]


class _Stretch(_Strict, frozen=True):
    start: int
    end: int


class _Report(_Strict, frozen=True):
    type: str
    log: str
    release: str
    made_at: int
    since: int
    counted: _Stretch
    catalogue: str
    summary: dict[str, Any]
    frameworks: list[_Framework]
    mechanisms: dict[str, _Mechanism]
    events: dict[str, str]


class _Proof(_Strict, frozen=True):
    checkpoint: str
    key: str
    place: int
    event: str
    paths: dict[str, list[str]]


class _File(_Strict, frozen=True):
    report: _Report
    proof: _Proof


@dataclass(frozen=True, slots=True)
class Verified:
    """What holds: the report as it was given, to whom, and the checkpoint it is proved by. `made_at` is in ms."""

    report: Mapping[str, Any]
    checkpoint: Checkpoint
    made_at: int
    given_to: str
    place: int
    same_release: bool


def verify(data: bytes, key: NoteKey) -> Verified:
    """Raises `ProofInvalid` with the first thing that does not hold."""
    try:
        whole = json_input.parse(data, limit=LIMIT)
        file = json_input.typed(whole, _File)
    except Refusal as bad:
        raise ProofInvalid(f"this is no report of evidence: {bad.message}") from bad
    report, proof = file.report, file.proof
    if report.type != TYPE:
        raise ProofInvalid(f"this is a {report.type[:100]!r}, and not a {TYPE}")
    checkpoint = parse_checkpoint(proof.checkpoint, [key], origin=key.name)
    if report.log != key.name:
        raise ProofInvalid(f"the report is about {report.log[:200]!r}, and the key is of {key.name!r}")
    given = _given(file, jcs.digest(whole["report"]), checkpoint)
    _carried(file, checkpoint)
    _follows(whole["report"], report)
    same = report.release == __version__
    if same:
        _as_written(report)
    return Verified(whole["report"], checkpoint, report.made_at, str(given["by"]), proof.place, same)


def _included(file: _File, place: int, event: str, checkpoint: Checkpoint) -> None:
    try:
        path = [base64.b64decode(one, validate=True) for one in file.proof.paths[str(place)]]
        verify_inclusion(leaf_hash(event.encode()), place, checkpoint.size, path, checkpoint.root)
    except (KeyError, ValueError) as bad:
        raise ProofInvalid(f"there is no proof that event {place} is in the log") from bad
    except ProofInvalid as bad:
        raise ProofInvalid(f"event {place} is not in the log like this: {bad.message}") from bad


def _given(file: _File, digest: str, checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The event that says that this very report was given."""
    report, proof = file.report, file.proof
    _included(file, proof.place, proof.event, checkpoint)
    entry: Mapping[str, Any] = json.loads(proof.event)
    data = entry["data"]
    if entry["type"] != "EvidenceReported" or data["report"] != digest:
        raise ProofInvalid("the report is not the one that the log says was given: something in it was altered")
    if (entry["at"], data["start"], data["size"]) != (report.made_at, report.counted.start, report.counted.end):
        raise ProofInvalid("the report says another time, or another stretch of the log, than its event")
    if proof.place < report.counted.end:
        raise ProofInvalid("the report counts events that were not there when it was given")
    return entry


def _carried(file: _File, checkpoint: Checkpoint) -> None:
    """Every event is in the log at its place, each that is needed is there, and none that is not."""
    report = file.report
    named = {str(place) for one in report.mechanisms.values() for act in one.acts for place in act.newest}
    if named != report.events.keys():
        raise ProofInvalid("the events that are carried are not those that the claims are about")
    if file.proof.paths.keys() != named | {str(file.proof.place)}:
        raise ProofInvalid("there are more or fewer proofs than events")
    for place, event in report.events.items():
        _included(file, int(place), event, checkpoint)


def _follows(raw: Mapping[str, Any], report: _Report) -> None:
    """Claims from events, verdicts from claims, the summary from verdicts."""
    leaves = {int(place): event.encode() for place, event in report.events.items()}
    when = {place: made_at(leaf) for place, leaf in leaves.items()}
    for name, one in report.mechanisms.items():
        for act in one.acts:
            _counted(name, act, leaves, report.counted)
        if acted(raw["mechanisms"][name]["acts"], when) != {
            "acted": one.acted,
            "last": one.last,
            "last_at": one.last_at,
        }:
            raise ProofInvalid(f"{name}: how often it acted, or when it last did, does not follow from its events")
        if one.state not in [state.value for state in State]:
            raise ProofInvalid(f"{name}: {one.state[:100]!r} is no state")
    for framework_ in raw["frameworks"]:
        for control in framework_["controls"]:
            if not report.mechanisms.keys() >= set(control["by"]):
                raise ProofInvalid(f"{control['id']} is enforced by something that the report says nothing of")
            if control["status"] != judged(control, raw["mechanisms"]):
                raise ProofInvalid(f"{control['id']}: its status does not follow from its mechanisms")
    if report.summary != summed(raw["frameworks"], raw["mechanisms"]):
        raise ProofInvalid("the summary does not follow from the controls")


def _counted(name: str, act: _Act, leaves: Mapping[int, bytes], counted: _Stretch) -> None:
    newest = act.newest
    if newest != sorted(set(newest), reverse=True) or len(newest) > NEWEST or any(p >= counted.end for p in newest):
        raise ProofInvalid(f"{name}: its newest events are out of order, too many, or beyond what was counted")
    for place in newest:
        if not has(act.word, leaves[place]):
            raise ProofInvalid(f"{name}: event {place} is not one of {act.word!r}")
    within = sum(place >= counted.start for place in newest)
    whole = within < len(newest) or len(newest) < NEWEST  # then no others can be within
    if act.count < within or (whole and act.count != within):
        raise ProofInvalid(f"{name}: {act.count} of {act.word!r} are claimed, and {within} shown")


def _as_written(report: _Report) -> None:
    """That controls are enforced by what this release says; a report may leave whole frameworks out, and no control."""
    for one in report.frameworks:
        known = framework(one.id) if one.id in NAMES else None
        written = known and [(c.id, c.title, [by.id for by in c.by], c.remains, c.why_not) for c in known.controls]
        if written != [(c.id, c.title, c.by, c.remains, c.why_not) for c in one.controls]:
            raise ProofInvalid(f"the controls of {one.id[:100]!r} are not those of remit {report.release}")
        for control in known.controls if known else ():
            for by in control.by:
                if [act.word for act in report.mechanisms[by.id].acts] != list(by.acts):
                    raise ProofInvalid(f"{by.id} is not counted by what remit {report.release} counts it by")


def recounted(found: Verified, entries: Sequence[bytes], head: Checkpoint) -> None:
    """The same, with the whole log: that it goes on from the report's checkpoint, and that every count is right.

    Raises `ProofInvalid` with the first thing that is not.
    """
    older = Head(found.checkpoint.size, found.checkpoint.root)
    log = audit(entries, Head(head.size, head.root), [older])
    if not log.ok:
        raise ProofInvalid(f"the log does not hold: {log.problem}")
    report = found.report
    start, end = report["counted"]["start"], report["counted"]["end"]
    if start != (
        bisect_left(range(end), report["since"], key=lambda place: made_at(entries[place])) if report["since"] else 0
    ):
        raise ProofInvalid("the stretch that was counted does not begin where it says")
    wanted = {act["word"] for one in report["mechanisms"].values() for act in one["acts"]}
    count, newest = dict.fromkeys(wanted, 0), {word: [] for word in wanted}  # type: dict[str, int], dict[str, list[int]]
    for place in range(end):
        for word in wanted & words(entries[place]) | wanted & {""}:
            count[word] += place >= start
            newest[word] = [place, *newest[word][: NEWEST - 1]]
    for name, one in report["mechanisms"].items():
        for act in one["acts"]:
            if (act["count"], act["newest"]) != (count[act["word"]], newest[act["word"]]):
                raise ProofInvalid(
                    f"{name}: {act['count']} of {act['word']!r} are claimed, and the log has {count[act['word']]}"
                )
