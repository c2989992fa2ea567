"""The present, read once: rows and configuration of the running server."""

from __future__ import annotations

import json
from typing import Protocol

from remit.domain.caller import AccessKey, CallerKind
from remit.domain.departure import Departure
from remit.domain.errors import ProofInvalid
from remit.domain.finding import Finding
from remit.domain.lease import IssuerOutage, Lease, Waits
from remit.domain.redecision import Redecision
from remit.domain.restore import Restored
from remit.domain.secret import SealedSecret
from remit.domain.stream import Stream
from remit.domain.task import Task
from remit.formats import tlog
from remit.govern.enforcement import enforcements
from remit.govern.estate import estate
from remit.log import tiles
from remit.ports import Edges, Env, LogReader
from remit.verbs.rotate import listed

from .mechanism import DAY, LATE, Present

MOST = 1000
_PEOPLE = (CallerKind.PERSON, CallerKind.OPERATOR, CallerKind.AUDITOR)


class Log(LogReader, Edges, Protocol):
    """What is needed of a store."""


async def read(env: Env, log: Log, log_name: str, now: int) -> Present:
    """Raises `StoreUnavailable` when no catalogue is in force: then nothing is."""
    head, force = await env.in_force()
    store, catalogue = env.store, force.catalogue
    size, note = await log.head()
    waiting = await log.unsequenced(1)
    redeciding = await store.find(Redecision, {"lasts": "yes"}, limit=MOST)
    keys = [key for kind in _PEOPLE for key in await store.find(AccessKey, {"kind": kind.value}, limit=MOST)]
    grades = await enforcements(log, catalogue.agents)
    return Present(
        now=now,
        head=head,
        catalogue=catalogue,
        policies=force.bundle.policies,
        asks_posture=force.bundle.asks_posture,
        frozen=await env.frozen(),
        gone=frozenset(row.person for row in await store.find(Departure, {}, limit=MOST) if row.gone),
        late={
            "leases": len(await store.due(Lease, now - LATE, limit=MOST)),
            "tasks": len(await store.due(Task, now - LATE, limit=MOST)),
        },
        ending=await _ending(env),
        down={row.issuer: row.since for row in await store.find(IssuerOutage, {}, limit=MOST) if not row.over_at},
        redeciding_since=min((row.since for row in redeciding), default=0),
        secrets=await store.find(SealedSecret, {"state": "active"}, limit=MOST),
        long_keys=sorted({f"{key.kind.value} {key.name}" for key in keys if key.expires_at - now > 366 * DAY}),
        keys=[key for key in await listed(env) if key.published],
        rotation=env.rotation,
        findings=await store.find(Finding, {"state": "open"}, limit=MOST),
        streams=await store.find(Stream, {}, limit=MOST),
        edges=await estate(env, log, now),
        restored=await store.get(Restored, "restored"),
        grades={name: str(found["grade"]) for name, found in grades.items()},
        signed=await _signed(env, log, log_name, size, note),
        size=size,
        unsequenced_since=int(json.loads(waiting[0][1])["at"]) if waiting else 0,
    )


async def _ending(env: Env) -> dict[str, int]:
    since: dict[str, int] = {}
    for lease in await env.store.find(Lease, {"state": "ending"}, limit=MOST):
        if lease.waits() is not Waits.ITSELF:
            since[lease.issuer] = min(since.get(lease.issuer, lease.ending_at), lease.ending_at)
    return since


async def _signed(env: Env, log: LogReader, log_name: str, size: int, note: str) -> str:
    """What is wrong with the newest checkpoint: that it is signed, and that the stored tree has its root."""
    keys = [tlog.note_key(log_name, public) for public in env.signer.public("log")]
    try:
        checkpoint = tlog.parse_checkpoint(note, keys, origin=log_name)
        root = await tiles.with_tiles(lambda one: tiles.root(size, one), log.tile)
    except ProofInvalid as bad:
        return str(bad) if note else "nothing is signed yet"
    return "" if checkpoint.root == root and checkpoint.size == size else "its root is not that of the events here"
