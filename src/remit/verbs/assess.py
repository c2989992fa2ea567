"""Assess: somebody who can tell says what an agent's surroundings are, until when."""

from __future__ import annotations

from collections.abc import Mapping

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, Busy, Conflict
from remit.domain.posture import Posture
from remit.domain.redecision import Redecision
from remit.ports import Env

ROUNDS = 24


async def assess(env: Env, call: Call, agent: str, facts: Mapping[str, str], until: int) -> Posture:
    """Write them down. Where what is known has changed, the agent's open tasks are decided again; facts that are only
    said once more change nothing but until when they count.
    """
    _, force = await env.in_force()
    if agent not in force.catalogue.agents:
        raise Absent(inside=f"agent {agent}")
    for _ in range(ROUNDS):
        row = await env.posture(agent)
        after = row.told(facts, until, str(call.caller), call.now)
        texts = tuple(sorted(f"{name}={value}" for name, value in facts.items()))
        change = Change(events.PostureAssessed(agent, texts, until), call).put(after, was=row)
        moved = row.at(call.now) != after.at(call.now)
        if moved:
            cause = f"posture of {agent} is now {', '.join(after.at(call.now))}"[:300]
            again = Redecision(env.new_id("rdc"), cause, call.now, (("agent", agent),), {})
            change = change.put(again, was=None)
        try:
            await env.store.commit(change)
        except Conflict:
            continue
        if moved:
            env.nudge()
        return after
    raise Busy("The posture keeps changing.", next_step="Try again in a moment.")
