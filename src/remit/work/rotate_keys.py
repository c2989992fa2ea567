"""Rotate keys: see what other processes did, then take the steps that are due."""

from __future__ import annotations

from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.keys import ROTATED, Step
from remit.ports import Env
from remit.verbs.rotate import turn_keys

SYSTEM = Caller(CallerKind.SYSTEM, "rotate-keys")


async def rotate_keys(env: Env, now: int) -> bool:
    """One step for each use at most; whether any was taken."""
    await env.signer.refresh()
    steps = [await turn_keys(env, Call(SYSTEM, now), use) for use in ROTATED]
    return any(step is not Step.NOTHING for step in steps)
