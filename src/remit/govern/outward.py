"""What the log says to others: an event of ours as CAEP has it, whom it concerns, and what a stream has still to send.

A task is a session: its end is `session-revoked`, with the task's id as the session, which is `txn` in its tokens. The
end of one token is `session-revoked` of that token alone (`jwt_id`). Other credentials, keys and passkeys are
`credential-change`.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from remit.domain.flow import Json
from remit.domain.lease import Lease
from remit.domain.signal import CAEP, SSF, SecurityEvent
from remit.domain.stream import Occurrence, Receiver, Stream
from remit.domain.task import Task
from remit.formats import rfc8417
from remit.formats.jws import SigningKey
from remit.ports import Env, LogReader

REVOKED, CHANGED = CAEP + "session-revoked", CAEP + "credential-change"
VERIFICATION, UPDATED = SSF + "verification", SSF + "stream-updated"
SUPPORTED = (REVOKED, CHANGED)
BATCH = 512
_INITIATING = {"agent": "user", "person": "user", "operator": "admin", "system": "system"}


async def occurrence(env: Env, entry: Mapping[str, Any]) -> Occurrence | None:
    """What this event of the log is to others, if anything."""
    read = _READ.get(str(entry["type"]))
    return await read(env, entry, entry["data"]) if read else None


async def waiting(
    env: Env, log: LogReader, stream: Stream, receiver: Receiver, *, start: int, limit: int, until: int = 0
) -> tuple[list[tuple[int, SecurityEvent]], int]:
    """At most `limit` events for this stream from place `start` on, with their places; and where to look next.

    An event has the same `jti` whenever it is sent.
    """
    size, _ = await log.head()
    key = env.sealer.derive(stream.numbering)
    found: list[tuple[int, SecurityEvent]] = []
    end, most = start, min(size, until or size)
    while end < most and len(found) < limit:
        for leaf in await log.entries(end, min(end + BATCH, most)):
            if _maybe(leaf):
                seen = await occurrence(env, json.loads(leaf))
                if seen is not None and seen.is_for(stream, receiver):
                    details = {**seen.details, **(seen.detailed if receiver.everything else {})}
                    found.append((end, SecurityEvent(_id(key, end), seen.at, seen.kind, seen.subject, details)))
            end += 1
            if len(found) == limit:
                break
    return found, end


def signed(env: Env, receiver: Receiver, place: int, said: SecurityEvent) -> str:
    """The event as a token; `txn` is the same for everybody who is told of it."""
    kid = env.signer.signing("signal")
    key = SigningKey(kid, "RS256", lambda data: env.signer.sign("signal", data, kid).value)
    txn = _id(env.sealer.derive(b"events of the log"), place)
    return rfc8417.encode(said, issuer=env.issuer_url, audience=receiver.audience, txn=txn, key=key)


def _id(key: bytes, place: int) -> str:
    return hmac.digest(key, str(place).encode(), "sha256").hex()[:32]


def _maybe(leaf: bytes) -> bool:
    """Most events say nothing to others; reading their type costs more than looking for it."""
    return any(name in leaf for name in _NAMES)


async def _task_ended(env: Env, entry: Mapping[str, Any], data: Mapping[str, Any]) -> Occurrence | None:
    task = await env.store.get(Task, str(data["task"]))
    if task is None:
        return None
    return Occurrence(
        REVOKED,
        {
            "format": "complex",
            "session": {"format": "opaque", "id": task.id},
            "user": {"format": "iss_sub", "iss": env.issuer_url, "sub": str(task.initiator)},
            "application": {"format": "opaque", "id": task.agent},
        },
        _details(entry, f"The task was {data['how']}."),
        entry["at"],
        task.agent,
        await _audiences(env, task.id),
        detailed=_reason(f"{data['how']}: {data['reason']}"),
    )


async def _contained(env: Env, entry: Mapping[str, Any], data: Mapping[str, Any]) -> Occurrence | None:
    return await _task_ended(env, entry, {**data, "how": "revoked"}) if data["task"] else None


async def _lease_ending(env: Env, entry: Mapping[str, Any], data: Mapping[str, Any]) -> Occurrence | None:
    lease = await env.store.get(Lease, str(data["lease"]))
    audience = str(lease.grants.get("audience", "")) if lease else ""
    if lease is None or not lease.status:
        return None
    subject: dict[str, Json] = {"format": "jwt_id", "iss": env.issuer_url, "jti": lease.handle}
    details = _details(entry, "The token was revoked.")
    whose = frozenset({audience})
    return Occurrence(REVOKED, subject, details, entry["at"], lease.agent, whose, detailed=_reason(str(data["reason"])))


async def _lease_ended(env: Env, entry: Mapping[str, Any], data: Mapping[str, Any]) -> Occurrence | None:
    lease = await env.store.get(Lease, str(data["lease"]))
    if lease is None or lease.status:
        return None
    subject: dict[str, Json] = {
        "format": "complex",
        "session": {"format": "opaque", "id": lease.task},
        "application": {"format": "opaque", "id": lease.agent},
        "credential": {"format": "opaque", "id": lease.handle},
    }
    details = _details(entry, "The credential is dead.") | {"change_type": "revoke", "credential_type": lease.issuer}
    return Occurrence(CHANGED, subject, details, entry["at"], lease.agent)


async def _keys_replaced(env: Env, entry: Mapping[str, Any], data: Mapping[str, Any]) -> Occurrence | None:
    if data["use"] != "token":
        return None
    subject = {"format": "uri", "uri": f"{env.issuer_url}/.well-known/jwks.json"}
    change = {"change_type": "revoke", "credential_type": "signing-key"}
    details = _details(entry, "Every older key was destroyed; what they signed is refused.") | change
    return Occurrence(CHANGED, subject, details, entry["at"], public=True, detailed=_reason(str(data["reason"])))


def _passkey(change_type: str, sentence: str) -> Callable[..., Awaitable[Occurrence | None]]:
    async def read(env: Env, entry: Mapping[str, Any], data: Mapping[str, Any]) -> Occurrence | None:
        subject = {"format": "iss_sub", "iss": env.issuer_url, "sub": f"person:{data['person']}"}
        change = {"change_type": change_type, "credential_type": "fido2"}
        return Occurrence(CHANGED, subject, _details(entry, sentence) | change, entry["at"])

    return read


async def _verification(env: Env, entry: Mapping[str, Any], data: Mapping[str, Any]) -> Occurrence | None:
    details = {"state": data["state"]} if data["state"] else {}
    return Occurrence(VERIFICATION, _itself(data), details, entry["at"], stream=str(data["stream"]))


async def _turned(env: Env, entry: Mapping[str, Any], data: Mapping[str, Any]) -> Occurrence | None:
    if not str(entry["by"]).startswith("system:"):
        return None  # whoever turned it knows
    details = {"status": data["state"], "reason": data["reason"]}
    return Occurrence(UPDATED, _itself(data), details, entry["at"], stream=str(data["stream"]))


def _itself(data: Mapping[str, Any]) -> dict[str, Json]:
    return {"format": "opaque", "id": str(data["stream"])}


def _details(entry: Mapping[str, Any], sentence: str) -> dict[str, Json]:
    who = _INITIATING.get(str(entry["by"]).partition(":")[0], "system")
    return {"event_timestamp": entry["at"] // 1000, "initiating_entity": who, **_reason(sentence)}


def _reason(text: str) -> dict[str, Json]:
    return {"reason_admin": {"en": text}}


async def _audiences(env: Env, task: str) -> frozenset[str]:
    """Whom this task has held tokens for."""
    found: set[str] = set()
    after = ""
    while page := await env.store.find(Lease, {"task": task}, after=after, limit=1000):
        found |= {str(lease.grants.get("audience", "")) for lease in page if lease.status}
        after = page[-1].key
    return frozenset(found)


_READ: Mapping[str, Callable[..., Awaitable[Occurrence | None]]] = {
    "TaskEnded": _task_ended,
    "FindingContained": _contained,
    "LeaseEnding": _lease_ending,
    "LeaseEnded": _lease_ended,
    "SigningKeyReplaced": _keys_replaced,
    "PasskeyRegistered": _passkey("create", "A passkey was registered."),
    "PasskeyRemoved": _passkey("delete", "A passkey was removed."),
    "StreamVerificationAsked": _verification,
    "StreamTurned": _turned,
}
_NAMES: Sequence[bytes] = [f'"type":"{name}"'.encode() for name in _READ]
