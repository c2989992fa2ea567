"""Fetch what identity providers say of people where they do not push (RFC 8936), and acknowledge what has had effect.

An event is acknowledged in the request after the one that brought it, when it is recorded; whatever is lost in between
comes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import BadSignal, Refusal, StoreUnavailable, Unavailable
from remit.domain.signal import Transmitter
from remit.formats import json_input
from remit.ports import Env
from remit.verbs.heed import heed

AT_ONCE = 10
EVERY = 10_000  # ms, for one transmitter, by whichever replica
ROUNDS = 50
_encode = msgspec.json.Encoder().encode


@dataclass
class _Answered:
    """What is said of the events of the request before."""

    ack: list[str] = field(default_factory=list)
    errors: dict[str, dict[str, str]] = field(default_factory=dict)


async def poll_signals(env: Env, now: int, polled: dict[str, int]) -> int:
    """Ask every transmitter whose turn it is; returns how many events came. `polled` is this process's own memory."""
    _, force = await env.in_force()
    came = 0
    for by in force.catalogue.transmitters.values():
        turn = now // EVERY
        if not by.poll_url or polled.get(by.name) == turn:
            continue
        polled[by.name] = turn
        if await env.store.spend(f"signals:{by.name}:{turn}", now + 2 * EVERY):
            came += await poll(env, by)
    return came


async def poll(env: Env, by: Transmitter) -> int:
    """Ask this one until it has no more; returns how many events came. `Unavailable` when it does not answer."""
    answered, came = _Answered(), 0
    for _ in range(ROUNDS):
        found = await _asked(env, by, answered)
        answered = _Answered()
        for jti, text in found.items():
            await _heard(env, by, jti, text, answered)
        came += len(found)
        if not found:
            break
    return came


async def _heard(env: Env, by: Transmitter, jti: str, text: str, answered: _Answered) -> None:
    call = Call(Caller(CallerKind.SYSTEM, f"signals/{by.name}"), env.clock())
    try:
        said = await env.signals.heard(by, text, call.now)
        if said.jti != jti:
            raise BadSignal("invalid_request", "given under another jti than its own")
    except BadSignal as bad:
        await env.store.commit(Change(events.SignalRefused(by.name, jti[:256], bad.problem), call))
        answered.errors[jti] = {"err": bad.err, "description": bad.problem}
        return
    await heed(env, call, by, said)
    answered.ack.append(jti)


async def _asked(env: Env, by: Transmitter, answered: _Answered) -> Mapping[str, str]:
    body = {"maxEvents": AT_ONCE, "returnImmediately": True, "ack": answered.ack, "setErrs": answered.errors}
    authorization = await env.unsealed(by.secret, env.clock()) if by.secret else ""
    private = by.allow_private_network
    answer = await env.signals.post(
        by.poll_url, "application/json", _encode(body), authorization, allow_private=private
    )
    if answer.status != 200:
        raise Unavailable("A transmitter gave no events.", inside=f"{by.name}: status {answer.status}")
    try:
        document = json_input.parse(answer.body, limit=len(answer.body))
    except StoreUnavailable:
        raise
    except Refusal as bad:
        raise Unavailable("A transmitter gave no events.", inside=f"{by.name}: {bad.message}") from bad
    found = document.get("sets") if isinstance(document, Mapping) else None
    if not isinstance(found, Mapping) or not all(isinstance(text, str) for text in found.values()):
        raise Unavailable("A transmitter gave no events.", inside=f"{by.name}: no sets in its answer")
    return dict(list(found.items())[:AT_ONCE])
