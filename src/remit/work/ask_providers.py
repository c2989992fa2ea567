"""Ask people in their identity provider's own app, and fetch what they answered (CIBA Core 1.0, poll mode).

That it is sent is durable before it is, and only the `auth_req_id` that was written down is ever polled: when a crash
or another replica comes between, the person may be asked twice there, and one of the two answers is void.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256

from remit.domain import events
from remit.domain.approval import Approval
from remit.domain.backchannel import ATTEMPTS, BackchannelRequest, BackchannelState, binding_message, code
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Refusal, StoreUnavailable, Unavailable
from remit.domain.session import Provider
from remit.domain.task import Task
from remit.formats import ciba
from remit.formats.rfc6749 import TokenRefused
from remit.ports import Env
from remit.verbs.approve import by_provider

from .kill_leases import attempt

SYSTEM = Caller(CallerKind.SYSTEM, "ask-providers")
AT_ONCE, PAGE = 16, 1000
MARGIN = 1_000  # a pass may be that late, and the next poll is still no earlier than the provider wants


async def ask_providers(env: Env, now: int, polled: dict[str, int]) -> int:
    """Send and fetch what is due; returns how many requests moved. `polled` is this process's own memory of turns."""
    call, few = Call(SYSTEM, now), asyncio.Semaphore(AT_ONCE)
    due = await env.store.due(BackchannelRequest, now, limit=AT_ONCE)
    waiting = await _waiting(env)
    for key in polled.keys() - {row.key for row in waiting}:
        del polled[key]

    async def one(row: BackchannelRequest) -> int:
        async with few:
            return await (_send(env, call, row) if row.due else _fetch(env, call, row, polled))

    done = await asyncio.gather(*(one(row) for row in (*due, *waiting)), return_exceptions=True)
    for found in done:
        if isinstance(found, BaseException):
            raise found
    return sum(found for found in done if isinstance(found, int))


async def _waiting(env: Env) -> list[BackchannelRequest]:
    found: list[BackchannelRequest] = []
    where, after = {"state": BackchannelState.WAITING.value}, ""
    while page := await env.store.find(BackchannelRequest, where, after=after, limit=PAGE):
        found += page
        after = page[-1].key
    return found


async def _send(env: Env, call: Call, row: BackchannelRequest) -> int:
    why, provider, approval = await _standing(env, call, row)
    if not why and row.attempts >= ATTEMPTS:
        why = "the provider could not be asked"
    if why or provider is None or approval is None:
        return await _over(env, call, row, why)
    asking = row.asking(env.clock())
    because: events.Event = events.BackchannelAsking(row.approval, row.person, row.provider, asking.attempts)
    if not await attempt(env, Change(because, call).put(asking, was=row)):
        return 0
    sent = await env.store.get(BackchannelRequest, row.key) or asking
    try:
        taken = await _taken(env, provider, approval, sent)
    except TokenRefused as refused:
        return await _over(env, call, sent, f"the provider refused: {refused.word}")
    except StoreUnavailable:
        raise
    except Refusal:
        because = events.BackchannelFailed(row.approval, row.person, sent.attempts)
        return int(await attempt(env, Change(because, call).put(sent.failed(env.clock()), was=sent)))
    until = min(approval.expires_at, sent.asked_at + taken.expires_in * 1000)
    request = sha256(taken.auth_req_id.encode()).hexdigest()
    envelope = env.sealer.seal(taken.auth_req_id.encode(), sent.context)
    waits = sent.waits(envelope, request, taken.interval * 1000, until)
    because = events.BackchannelAsked(row.approval, row.person, request, until)
    # Lost here, or written by another replica first: this `auth_req_id` is nowhere, and its answer is void.
    return int(await attempt(env, Change(because, call).put(waits, was=sent)))


async def _taken(env: Env, provider: Provider, approval: Approval, row: BackchannelRequest) -> ciba.Taken:
    """With as much of the sentence as the provider shows: the code alone, where it takes no more."""
    seconds = max(1, (approval.expires_at - row.asked_at) // 1000)
    hint = provider.hint(row.person)
    try:
        return await env.backchannel.ask(provider, ciba.Wanted(hint, binding_message(approval), seconds), row.asked_at)
    except TokenRefused as refused:
        if refused.word != "invalid_binding_message":
            raise
    return await env.backchannel.ask(provider, ciba.Wanted(hint, code(row.digest), seconds), row.asked_at)


async def _fetch(env: Env, call: Call, row: BackchannelRequest, polled: dict[str, int]) -> int:
    turn = (call.now - row.asked_at) // (row.interval + MARGIN)
    why, provider, _ = await _standing(env, call, row)
    if why or provider is None or call.now >= row.expires_at:
        return await _over(env, call, row, why or "nobody answered there in time")
    if turn < 1 or polled.get(row.key) == turn:
        return 0
    polled[row.key] = turn
    if not await env.store.spend(f"poll:{row.request}:{row.interval}:{turn}", row.expires_at):
        return 0  # another replica's turn
    try:
        auth_req_id = env.sealer.unseal(row.envelope, row.context).decode()
        found = await env.backchannel.poll(provider, auth_req_id, row.asked_at, env.clock())
        if isinstance(found, ciba.Said):
            await by_provider(env, Call(SYSTEM, env.clock()), row, found)
            return 1
    except StoreUnavailable:
        raise
    except TokenRefused as refused:
        return await _over(env, call, row, f"the provider refused: {refused.word}")
    except Unavailable:
        return 0
    except Refusal as refused:
        return await _over(env, call, row, f"void: {refused.message}")
    match found:
        case ciba.Outcome.EXPIRED:
            return await _over(env, call, row, "nobody answered there in time")
        case ciba.Outcome.SLOW_DOWN:
            slowed = row.slowed()
            because = events.BackchannelSlowed(row.approval, row.person, slowed.interval)
            return int(await attempt(env, Change(because, call).put(slowed, was=row)))
    return 0


async def _standing(env: Env, call: Call, row: BackchannelRequest) -> tuple[str, Provider | None, Approval | None]:
    """Why nothing is asked or fetched for it any more, if so; the provider and the approval."""
    approval = await env.store.get(Approval, row.approval)
    _, force = await env.in_force()
    provider = force.catalogue.providers.get(row.provider)
    if approval is None or not approval.pending_at(call.now):
        return "nobody is asked any more", provider, approval
    if any(row.person in one.voices for one in approval.answers):
        return "answered elsewhere", provider, approval
    task = await env.store.get(Task, approval.task)
    if not approval.finding and (task is None or not task.open_at(call.now)):
        return "the task has ended", provider, approval
    if provider is None or provider.way != row.way:
        return "the provider's entry has changed", provider, approval
    return "", provider, approval


async def _over(env: Env, call: Call, row: BackchannelRequest, why: str) -> int:
    because = events.BackchannelOver(row.approval, row.person, why)
    return int(await attempt(env, Change(because, call).put(row.over(why), was=row)))
