"""Rows and changes as bytes: what stores keep and what the log hashes.

A row's body is JSON with its fields by name (`row_body`). A leaf of the log is JSON with the event, who and
when, and for every row written `[kind, key, version, sha256 of the body]`, so replaying bodies in
order rebuilds the tables and a changed body is seen (law 9). Leaf bytes are hashed as stored;
nobody ever re-encodes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from remit.domain.above import Branch
from remit.domain.approval import Approval, ApprovalState, Away
from remit.domain.backchannel import BackchannelRequest
from remit.domain.caller import AccessKey
from remit.domain.catalogue import CatalogueFiles, CatalogueHead
from remit.domain.change import Change, Row
from remit.domain.chart import Chart, Charts
from remit.domain.connection import Connection
from remit.domain.consent import Consent
from remit.domain.departure import Departure
from remit.domain.directory import DirectoryUser
from remit.domain.estate import EdgeLog, EdgeSeat, Following, Held
from remit.domain.finding import Finding
from remit.domain.freeze import Frozen
from remit.domain.identity import Identity, JoinToken
from remit.domain.keys import KeyTurn, SigningKey
from remit.domain.leak import Fingerprint, ScanReport
from remit.domain.lease import IssuerOutage, Lease, LeaseState
from remit.domain.narrowing import Narrowing
from remit.domain.notice import Notice
from remit.domain.origin import Observation
from remit.domain.out import Out
from remit.domain.passkey import Passkey
from remit.domain.posture import Posture
from remit.domain.redecision import Redecision
from remit.domain.restore import Restored
from remit.domain.review import Review
from remit.domain.secret import HandOver, HandOverState, Outbox, SealedSecret
from remit.domain.session import Session, SignInLink
from remit.domain.shadow import Dismissal
from remit.domain.signal import HeardSignal
from remit.domain.standing_yes import StandingYes
from remit.domain.status import StatusEntry
from remit.domain.stream import Stream
from remit.domain.succession import Succession, SuccessionState
from remit.domain.task import Task, TaskState

from . import row_body

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Kind:
    """How one kind of row is kept: its table, the columns `find` may ask for, and when it is due (0: never).

    `withheld`: bodies hold envelopes or what must be forgotten, so they are in the table alone and events keep only
    their digest. What is
    destroyed in the row is then destroyed, and a rewrapped envelope leaves none under the old key behind.
    """

    row: type[Any]
    table: str
    columns: Mapping[str, Callable[[Any], str]]
    due: Callable[[Any], int]
    withheld: bool = False


def _task_due(task: Task) -> int:
    if task.state is TaskState.OPEN:
        return task.deadline
    return 0 if task.settled_at else task.check_at or task.ended_at


def _approval_due(approval: Approval) -> int:
    waiting = approval.state in (ApprovalState.PENDING, ApprovalState.GRANTED)
    if not waiting:
        return 0
    escalates = approval.state is ApprovalState.PENDING and approval.escalate_at
    return min(approval.expires_at, escalates or approval.expires_at)


def _lease_due(lease: Lease) -> int:
    match lease.state:
        case LeaseState.ENDED:
            return 0
        case LeaseState.ENDING:
            return lease.retry_at
        case LeaseState.RESERVED:
            return min(lease.expires_at, lease.mint_until)
        case LeaseState.LIVE:
            return lease.expires_at


def _hand_over_due(row: HandOver) -> int:
    return row.expires_at if row.state is HandOverState.WAITING else 0


def _never(_: Any) -> int:
    return 0


KINDS: tuple[Kind, ...] = (
    Kind(CatalogueFiles, "catalogue_files", {}, _never),
    Kind(CatalogueHead, "catalogue_head", {}, _never),
    Kind(Frozen, "frozen", {}, _never),
    Kind(Restored, "restored", {}, _never),
    Kind(Identity, "identities", {"agent": lambda r: r.agent}, _never),
    Kind(JoinToken, "join_tokens", {"agent": lambda r: r.agent}, _never),
    Kind(AccessKey, "access_keys", {"name": lambda r: r.name, "kind": lambda r: r.kind.value}, _never),
    Kind(SigningKey, "signing_keys", {"use": lambda r: r.use}, _never, withheld=True),
    Kind(KeyTurn, "key_turns", {}, _never),
    Kind(
        SealedSecret,
        "sealed_secrets",
        {
            "name": lambda r: r.name,
            "state": lambda r: r.state.value,
            "overdue": lambda r: "yes" if r.reminded_at else "no",
        },
        lambda r: r.due,
        withheld=True,
    ),
    Kind(
        HandOver,
        "hand_overs",
        {"state": lambda r: r.state.value, "sender": lambda r: r.sender, "recipient": lambda r: r.recipient},
        _hand_over_due,
        withheld=True,
    ),
    Kind(Outbox, "outboxes", {}, _never),
    Kind(
        Task,
        "tasks",
        {
            "state": lambda r: r.state.value,
            "agent": lambda r: r.agent,
            "purpose": lambda r: r.purpose,
            "parent": lambda r: r.parent,
            "home": lambda r: r.home,
            "initiator": lambda r: str(r.initiator),
        },
        _task_due,
    ),
    Kind(Branch, "branches", {}, _never),
    Kind(Posture, "postures", {}, lambda r: r.due),
    Kind(Departure, "departures", {}, _never),
    Kind(Dismissal, "dismissals", {}, _never),
    Kind(Finding, "findings", {"state": lambda r: r.state.value, "about": lambda r: r.about}, lambda r: r.due),
    Kind(Fingerprint, "fingerprints", {"print": lambda r: r.print}, _never),
    Kind(ScanReport, "scan_reports", {}, lambda r: r.due, withheld=True),
    Kind(
        Succession,
        "successions",
        {"lasts": lambda r: "no" if r.state is SuccessionState.OVER else "yes"},
        lambda r: r.due,
    ),
    Kind(Review, "reviews", {"waits": lambda r: "yes" if r.waits else "no"}, lambda r: r.due),
    Kind(Narrowing, "narrowings", {}, _never),
    Kind(DirectoryUser, "directory_users", {"directory": lambda r: r.directory, "folded": lambda r: r.folded}, _never),
    Kind(Redecision, "redecisions", {"lasts": lambda r: "no" if r.reached_at else "yes"}, lambda r: r.due),
    Kind(
        Approval,
        "approvals",
        {
            "state": lambda r: r.state.value,
            "task": lambda r: r.task,
            "access": lambda r: r.access,
            "tool": lambda r: r.shown.tool,
        },
        _approval_due,
    ),
    Kind(
        StandingYes, "standing_yeses", {"task": lambda r: r.task, "usable": lambda r: "yes" if r.open else "no"}, _never
    ),
    Kind(Passkey, "passkeys", {"person": lambda r: r.person}, _never),
    Kind(Away, "aways", {"stand_in": lambda r: r.to}, _never),
    Kind(Notice, "notices", {}, lambda r: r.due),
    Kind(
        BackchannelRequest,
        "backchannel_requests",
        {"state": lambda r: r.state.value, "approval": lambda r: r.approval},
        lambda r: r.due,
        withheld=True,
    ),
    Kind(
        Lease,
        "leases",
        {
            "state": lambda r: r.state.value,
            "task": lambda r: r.task,
            "issuer": lambda r: r.issuer,
            "holds": lambda r: r.holds,
        },
        _lease_due,
    ),
    Kind(StatusEntry, "status_entries", {"list": lambda r: str(r.list)}, _never),
    Kind(IssuerOutage, "issuer_outages", {}, _never),
    Kind(Connection, "connections", {"state": lambda r: r.state.value}, lambda r: r.due, withheld=True),
    Kind(
        Observation,
        "observations",
        {
            "task": lambda r: r.task,
            "kept": lambda r: "yes" if r.values else "no",
            "root": lambda r: r.root or r.task,
        },
        _never,
        withheld=True,
    ),
    Kind(EdgeSeat, "edge_seats", {}, _never),
    Kind(EdgeLog, "edge_logs", {"edge": lambda r: r.edge}, _never),
    Kind(Following, "following", {}, _never),
    Kind(Charts, "charts", {}, _never),
    Kind(Chart, "chart_steps", {}, _never, withheld=True),
    Kind(Held, "held_tasks", {"state": lambda r: r.state}, _never, withheld=True),
    Kind(HeardSignal, "heard_signals", {"person": lambda r: r.person}, _never),
    Kind(Stream, "streams", {"state": lambda r: r.state.value}, _never, withheld=True),
    Kind(SignInLink, "sign_in_links", {}, _never),
    Kind(Consent, "consents", {}, _never),
    Kind(Session, "sessions", {"name": lambda r: r.name, "state": lambda r: "ended" if r.ended_at else "open"}, _never),
    Kind(Out, "outs", {}, _never),
)
KIND_OF: Mapping[type[Any], Kind] = {kind.row: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class EncodedPut:
    """One row ready to store."""

    kind: Kind
    key: str
    expected: int
    version: int
    body: bytes
    columns: tuple[str, ...]
    due: int

    @property
    def told(self) -> bytes:
        """What the event keeps of the body: all of it, or nothing."""
        return b"" if self.kind.withheld else self.body


@dataclass(frozen=True, slots=True)
class EncodedChange:
    """A change ready to store: `leaf` is the event's bytes for the log; `checks` are (kind, key, expected version)."""

    event: str
    leaf: bytes
    puts: tuple[EncodedPut, ...]
    checks: tuple[tuple[Kind, str, int], ...]


def encode(change: Change) -> EncodedChange:
    """Encode a change once, for whichever store keeps it."""
    puts = tuple(_encode_put(put.row, put.expected) for put in change.puts)
    event = type(change.because).__name__
    leaf = _encode(
        {
            "v": 1,
            "type": event,
            "at": change.call.now,
            "by": str(change.call.caller),
            "trace": change.call.trace,
            "data": change.because,
            "writes": [[p.kind.row.__name__, p.key, p.version, sha256(p.body).hexdigest()] for p in puts],
            **({"via": change.call.via} if change.call.via else {}),
        }
    )
    checks = tuple((KIND_OF[check.kind], check.key, check.expected) for check in change.checks)
    return EncodedChange(event, leaf, puts, checks)


def _encode_put(row: Row, expected: int) -> EncodedPut:
    kind = KIND_OF[type(row)]
    columns = tuple(column(row) for column in kind.columns.values())
    return EncodedPut(kind, row.key, expected, row.version, row_body.encode(row), columns, kind.due(row))


def pack(bodies: Sequence[bytes]) -> bytes:
    """Row bodies of one event, each after its length in four bytes: what a replay writes back."""
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def unpack(packed: bytes) -> list[bytes]:
    """Read what `pack` wrote; raises `ValueError` when it is cut short."""
    bodies: list[bytes] = []
    at = 0
    while at < len(packed):
        end = at + 4 + int.from_bytes(packed[at : at + 4], "big")
        if end > len(packed):
            raise ValueError("packed bodies are cut short")
        bodies.append(packed[at + 4 : end])
        at = end
    return bodies
