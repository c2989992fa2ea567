"""Admit: give a person, operator, auditor, enforcement point or edge a bearer key."""

from __future__ import annotations

from hashlib import sha256

from remit.domain import events
from remit.domain.caller import AccessKey, Call, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField
from remit.domain.identity import checked_name
from remit.ports import Env


async def admit(env: Env, call: Call, kind: CallerKind, name: str, ttl: int) -> tuple[str, AccessKey]:
    """Make a key good for `ttl` ms. Its text is returned here and kept nowhere; only its SHA-256 is stored."""
    if kind in (CallerKind.AGENT, CallerKind.ANYONE, CallerKind.SYSTEM):
        raise BadField("kind", "must be person, operator, auditor, enforcer or edge")
    checked_name("name", name)
    if kind in (CallerKind.PERSON, CallerKind.EDGE):
        catalogue = (await env.in_force())[1].catalogue
        if name not in (catalogue.people if kind is CallerKind.PERSON else catalogue.edges):
            raise Absent(inside=f"{kind.value} {name}")
    text = env.new_id(f"key_{kind.value}")
    row = AccessKey(sha256(text.encode()).hexdigest(), kind, name, call.now, call.now + ttl)
    because = events.AccessKeyCreated(kind.value, name, row.digest, row.expires_at)
    await env.store.commit(Change(because, call).put(row, was=None))
    return text, row
