"""Dismiss: somebody has looked at what was seen and nobody registered, and it need not be shown."""

from __future__ import annotations

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import BadField, Conflict
from remit.domain.shadow import Dismissal, Shadow
from remit.ports import Env


async def dismiss(env: Env, call: Call, shadow: Shadow, note: str) -> Dismissal:
    """It is counted on, and shown no more unless it is asked for. The first who says so is named."""
    if not 0 < len(note) <= 1000:
        raise BadField("note", "say why in 1 to 1000 characters")
    known = await env.store.get(Dismissal, shadow.id)
    if known is not None:
        return known
    about = (shadow.id, shadow.kind.value, shadow.name, shadow.source)
    row = Dismissal(*about, call.now, str(call.caller), note)
    try:
        await env.store.commit(Change(events.ShadowDismissed(*about, note), call).put(row, was=None))
    except Conflict:  # somebody else did meanwhile, and rows are never taken away
        first = await env.store.get(Dismissal, shadow.id)
        assert first is not None
        return first
    return row
