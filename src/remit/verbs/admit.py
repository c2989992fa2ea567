"""Admit: give a bearer key to whoever is no agent, and take it away."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from hashlib import sha256

from remit.domain import events
from remit.domain.caller import KEYED, AccessKey, Call, CallerKind
from remit.domain.catalogue import Catalogue
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField
from remit.domain.identity import checked_name
from remit.domain.leak import Leak, LeakKind
from remit.ports import Env

# Whose keys are for somebody who is in the catalogue.
_NAMED: Mapping[CallerKind, Callable[[Catalogue], Collection[str]]] = {
    CallerKind.PERSON: lambda catalogue: catalogue.people,
    CallerKind.EDGE: lambda catalogue: catalogue.edges,
    CallerKind.RECEIVER: lambda catalogue: catalogue.receivers,
    CallerKind.DIRECTORY: lambda catalogue: catalogue.directories,
}


async def admit(env: Env, call: Call, kind: CallerKind, name: str, ttl: int) -> tuple[str, AccessKey]:
    """Make a key good for `ttl` ms. Its text is returned here and kept nowhere; only its SHA-256 is stored."""
    if kind not in KEYED:
        raise BadField("kind", f"must be one of {', '.join(one.value for one in KEYED)}")
    checked_name("name", name)
    if kind in _NAMED:
        catalogue = (await env.in_force())[1].catalogue
        if name not in _NAMED[kind](catalogue):
            raise Absent(inside=f"{kind.value} {name}")
    text = env.new_id(f"key_{kind.value}")
    row = AccessKey(sha256(text.encode()).hexdigest(), kind, name, call.now, call.now + ttl)
    because = events.AccessKeyCreated(kind.value, name, row.digest, row.expires_at)
    change = Change(because, call).put(row, was=None)
    await env.store.commit(env.recognised(change, Leak(LeakKind.KEY, row.digest), {"key": text}))
    return text, row


async def end(env: Env, call: Call, digest: str, reason: str) -> AccessKey:
    """It is refused from the moment this returns. One whose time is over is returned as it is."""
    if len(reason) > 500:
        raise BadField("reason", "is longer than 500 characters")
    row = await env.store.get(AccessKey, digest)
    if row is None:
        raise Absent(inside=f"key {digest[:64]}")
    if call.now >= row.expires_at:
        return row
    because = events.AccessKeyEnded(row.kind.value, row.name, row.digest, reason)
    await env.store.commit(Change(because, call).put(row.ended(call.now), was=row))
    return row.ended(call.now)
