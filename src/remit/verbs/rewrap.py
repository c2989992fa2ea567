"""Rewrap: bring every envelope under the new root key, without opening what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from remit.domain import events
from remit.domain.backchannel import BackchannelRequest
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.connection import Connection
from remit.domain.errors import BadToken, Conflict
from remit.domain.keys import SigningKey
from remit.domain.secret import HandOver, SealedSecret
from remit.domain.stream import Stream
from remit.ports import Env

ENVELOPES: Mapping[type[Any], tuple[str, ...]] = {
    SigningKey: ("sealed",),
    SealedSecret: ("envelope",),
    HandOver: ("envelope",),
    Connection: ("envelope", "attempt"),
    BackchannelRequest: ("envelope",),
    Stream: ("authorization",),
}


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """`unopened` names rows whose envelope is under neither root key."""

    done: int
    already: int
    unopened: tuple[str, ...]


async def rewrap(env: Env, call: Call) -> Rewrapped:
    """Rewrap row by row, each in its own commit: stopping anywhere is fine, and doing it again does what is left."""
    done, already, unopened = 0, 0, []
    for kind, fields in ENVELOPES.items():
        after = ""
        while page := await env.store.find(kind, {}, after=after, limit=100):
            for row in page:
                try:
                    changed = await _one(env, call, kind, fields, row.key)
                except BadToken:
                    unopened.append(f"{kind.__name__} {row.key}")
                    continue
                done, already = done + changed, already + (not changed)
            after = page[-1].key
    return Rewrapped(done, already, tuple(unopened))


async def _one(env: Env, call: Call, kind: type[Any], fields: tuple[str, ...], key: str) -> bool:
    while True:
        row: Any = await env.store.get(kind, key)
        sealed = {name: getattr(row, name) for name in fields}
        fresh = {name: env.sealer.rewrap(envelope) if envelope else "" for name, envelope in sealed.items()}
        if fresh == sealed:
            return False
        because = events.EnvelopeRewrapped(kind.__name__, key)
        try:
            await env.store.commit(Change(because, call).put(replace(row, **fresh), was=row))
            return True
        except Conflict:
            continue
