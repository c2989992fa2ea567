"""The JSON shapes of the first-party API: requests as typed structs, answers rendered from domain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from remit.domain.connection import Connection
from remit.domain.decision import Decision, Hold, word
from remit.domain.keys import SigningKey
from remit.domain.lease import Lease, Waiting
from remit.domain.origin import Observation
from remit.domain.secret import HandOver, SealedSecret
from remit.domain.task import Task


class Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Unknown members are errors with the member's name."""


class AwsRequest(Strict, frozen=True):
    """A POST of GetCallerIdentity, signed and not sent."""

    url: str
    headers: dict[str, str]
    body: str


class AttestRequest(Strict, frozen=True):
    """Exactly one kind of evidence; `x509_svid` says that it is the certificate of this very connection."""

    join_token: str = ""
    oidc_token: str = ""
    jwt_svid: str = ""
    x509_svid: bool = False
    aws_request: AwsRequest | None = None


class ProposeRequest(Strict, frozen=True):
    """A proposal; `subject_token` names the person it is for."""

    purpose: str
    goal: str
    parameters: dict[str, Any] = {}
    duration_ms: int = 0
    max_calls: int = 0
    subject_token: str = ""


class ConnectRequest(Strict, frozen=True):
    """Where the authorization server is to send the person back to: loopback."""

    redirect_uri: str


class RedirectedRequest(Strict, frozen=True):
    """The whole address that the browser was sent back to."""

    redirected: str


class DelegationRequest(Strict, frozen=True):
    """Part of a task, for another agent, or for one key of it, `jkt`; 0 asks for as much as may be handed on."""

    agent: str
    purpose: str
    goal: str
    parameters: dict[str, Any] = {}
    duration_ms: int = 0
    max_calls: int = 0
    jkt: str = ""


class CallRequest(Strict, frozen=True):
    """One attempted call."""

    tool: str
    arguments: dict[str, Any] = {}
    pin: str = ""


class ObservationRequest(Strict, frozen=True):
    """What a tool returned: any JSON, such as MCP's structured content or its list of text blocks."""

    tool: str
    content: Any


class CredentialRequest(Strict, frozen=True):
    """A credential by the name the purpose gives it."""

    credential: str


class ReasonRequest(Strict, frozen=True):
    """Why, for the log."""

    reason: str = ""


class RewindRequest(Strict, frozen=True):
    """The place of the log to begin at again, and why."""

    place: int
    reason: str = ""


class FilesRequest(Strict, frozen=True):
    """A catalogue: text by relative path."""

    files: dict[str, str]


class RolloutRequest(Strict, frozen=True):
    """A catalogue, and the percentage of the edges that it is to be in force at."""

    files: dict[str, str]
    share: int


class ShareRequest(Strict, frozen=True):
    """The percentage of the edges that have what is rolled out."""

    share: int


class ReplayRequest(Strict, frozen=True):
    """A catalogue, and of how many of the newest decisions, none made before `since` (ms), it should be asked."""

    files: dict[str, str]
    decisions: int = 1000
    since: int = 0


class InviteRequest(Strict, frozen=True):
    """How long a join token is good."""

    ttl_ms: int = 3_600_000


class KeyRequest(Strict, frozen=True):
    """A bearer key for a person, operator, auditor, enforcement point or edge."""

    kind: str
    name: str
    ttl_ms: int = 30 * 86_400_000


class RotateRequest(Strict, frozen=True):
    """`now`: the keys of this use may be known to somebody else, and are destroyed at once."""

    now: bool = False
    reason: str = ""


class SecretRequest(Strict, frozen=True):
    """A static secret to seal as its next version; `rotate_after_ms` -1 leaves that as it was."""

    value: str
    note: str = ""
    expires_at: int = 0
    rotate_after_ms: int = -1


class VersionRequest(Strict, frozen=True):
    """A version of a secret; 0 is the one before the newest."""

    number: int = 0


class RetireRequest(Strict, frozen=True):
    """The version to retire, and why, for the log."""

    number: int
    reason: str = ""


class HandOverRequest(Strict, frozen=True):
    """What the sender sealed under the link's key, for one person; `proof` is what an opener must show."""

    to: str
    envelope: str
    proof: str
    ttl_ms: int = 86_400_000
    note: str = ""


class OpenRequest(Strict, frozen=True):
    """What only the link's holder can show."""

    proof: str


class LinkRequest(Strict, frozen=True):
    """Whom a sign-in link is for, as what; empty: the caller, as what they are."""

    name: str = ""
    roles: tuple[str, ...] = ()


class SubjectTokenRequest(Strict, frozen=True):
    """Which agent may begin a task for the caller."""

    agent: str


def task(row: Task) -> dict[str, Any]:
    """A task, without its internals."""
    return {
        "id": row.id,
        "agent": row.agent,
        "purpose": row.purpose,
        "purpose_revision": row.purpose_revision,
        "goal": row.goal,
        "parameters": dict(row.parameters),
        "initiator": str(row.initiator),
        "state": row.state.value,
        "home": row.home,
        "opened_at": row.opened_at,
        "deadline": row.deadline,
        "calls": row.calls,
        "max_calls": row.max_calls,
        "handed_on": {"times": row.handed, "calls": row.lent},
        "parent": row.parent,
        "chain": [{"agent": hop.agent, "task": hop.task} for hop in row.chain.hops],
        "label": {
            "trust": row.label.trust.word,
            "sensitivity": row.label.sensitivity.word,
            "sources": list(row.label.sources),
        },
        "ended_at": row.ended_at,
        "end_reason": row.end_reason,
        "settled_at": row.settled_at,
    }


def observation(row: Observation) -> dict[str, Any]:
    """What is known of a result."""
    label = {"trust": row.trust.word, "sensitivity": row.sensitivity.word}
    return {"task": row.task, "tool": row.tool, "number": row.number, **label, "values": row.values, "whole": row.whole}


def credentials(found: Sequence[Waiting], down_since: Mapping[str, int]) -> dict[str, Any]:
    """How many are not confirmed dead; `at` is when the last of them is tried again or dies, 0 at any moment."""
    waits = [
        {
            "issuer": one.issuer,
            "waits": one.waits.value,
            "count": one.count,
            "at": one.at,
            "why": one.why,
            "issuer_down_since": down_since.get(one.issuer, 0),
        }
        for one in found
    ]
    return {"alive": sum(one.count for one in found), "waits": waits}


def lease(row: Lease) -> dict[str, Any]:
    """A lease; what it stands for is named, never shown."""
    names = (
        "id",
        "task",
        "agent",
        "credential",
        "issuer",
        "handle",
        "reserved_at",
        "minted_at",
        "expires_at",
        "holds",
    )
    shown: dict[str, Any] = {name: getattr(row, name) for name in names}
    late = ("ended_at", "end_reason", "attempts", "retry_at", "last_error")
    return {**shown, "state": row.state.value, **{name: getattr(row, name) for name in late}}


def secret(row: SealedSecret) -> dict[str, Any]:
    """A version of a secret; its value and its envelope are never shown."""
    names = ("name", "number", "note", "sealed_at", "sealed_by", "expires_at", "rotate_at", "retired_at")
    shown: dict[str, Any] = {name: getattr(row, name) for name in names}
    why = {"retire_reason": row.retire_reason, "rotate_after_ms": row.rotate_after}
    return {**shown, **why, "state": row.state.value, "overdue": bool(row.reminded_at)}


def hand_over(row: HandOver) -> dict[str, Any]:
    """A hand-over; what was handed over is never shown here."""
    names = ("id", "sender", "recipient", "note", "sent_at", "expires_at", "ended_at")
    return {**{name: getattr(row, name) for name in names}, "state": row.state.value}


def signing_key(row: SigningKey) -> dict[str, Any]:
    """A signing key; its private half is nobody's to see."""
    names = ("kid", "use", "algorithm", "created_at", "signs_from", "retire_at", "changed_at")
    return {"state": row.state.value, **{name: getattr(row, name) for name in names}}


def decision(found: Decision, base_url: str) -> dict[str, Any]:
    """A decision, with where a person can answer when it is held."""
    shown: dict[str, Any] = {
        "decision": word(found),
        "why": [
            {"code": w.reason.value, "sentence": w.sentence, "policy": w.policy, "control": w.control}
            for w in found.why
        ],
    }
    if isinstance(found, Hold):
        approvers = dict.fromkeys(name for need in found.needs for name in need.approvers)
        url = f"{base_url}/console/approvals/{found.approval}"
        shown["approval"] = {"id": found.approval, "url": url, "approvers": list(approvers)}
    return shown


def connection(row: Connection) -> dict[str, Any]:
    """A connection, without anything sealed."""
    return {
        "issuer": row.issuer,
        "state": row.state.value,
        "authorization_server": row.authorization_server,
        "client_id": row.client,
        "scopes": list(row.scopes),
        "connected_at": row.connected_at,
        "connected_by": row.connected_by,
        "attempt_until": row.attempt_until,
        "reason": row.reason,
    }
