"""Chart: take in what an export says about who can reach what, under a name, whole; or take it out again."""

from __future__ import annotations

import re
from hashlib import sha256

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.chart import Chart, Charted, Charts
from remit.domain.errors import Absent, BadField
from remit.ports import Env

MOST, STEPS = 32, 1_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


async def chart(env: Env, call: Call, name: str, text: str, nodes: int, steps: int) -> Charted:
    """Keep it in place of what had this name. The same again changes nothing. Nobody's access depends on it."""
    if not _NAME.match(name):
        raise BadField("name", "must be 1 to 64 of a-z 0-9 . _ -")
    held = await charts(env)
    one = Charted(name, f"sha256:{sha256(text.encode()).hexdigest()}", nodes, steps, call.now, str(call.caller))
    before = held.named(name)
    if before is not None and before.digest == one.digest:
        return before
    after = held.having(one)
    if len(after.imported) > MOST:
        raise BadField("name", f"would be more than {MOST} imports", next_step="Remove one: remit blast remove NAME.")
    if after.steps > STEPS:
        raise BadField("steps", f"would be more than {STEPS:,} together", next_step="Remove one, or import less.")
    was = await env.store.get(Chart, name)
    because = events.ChartImported(name, one.digest, nodes, steps)
    change = Change(because, call).put(after, was=held if held.version else None)
    await env.store.commit(change.put(Chart(name, text), was=was))
    return one


async def remove(env: Env, call: Call, name: str) -> None:
    """What was imported under this name is not asked any more, and its steps are gone."""
    held = await charts(env)
    one, was = held.named(name), await env.store.get(Chart, name[:64])
    if one is None or was is None:
        raise Absent(inside=f"import {name[:64]}")
    change = Change(events.ChartRemoved(name, one.digest), call).put(held.without(name), was=held)
    await env.store.commit(change.put(Chart(name, ""), was=was))


async def charts(env: Env) -> Charts:
    """What is imported."""
    return await env.store.get(Charts, "charts") or Charts()
