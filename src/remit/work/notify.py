"""Notify: tell those who are asked, by each route that is for them, at least once.

A message has one sentence and a link. The link shows the request to whoever signs in there and is asked; it approves
nothing by itself. The row is written with the request, so nothing is forgotten in a crash; what was sent and not yet
written down is sent again.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from remit.domain import events
from remit.domain.approval import Approval
from remit.domain.backchannel import BackchannelRequest, code, reached
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.catalogue import Catalogue
from remit.domain.change import Change
from remit.domain.errors import Refusal
from remit.domain.notice import Notice, Route
from remit.domain.review import Review
from remit.domain.succession import Missing, Succession
from remit.ports import Env

from .kill_leases import attempt

SYSTEM = Caller(CallerKind.SYSTEM, "notify")
AT_ONCE = 16
TIMEOUT = 20.0
SENTENCE = 500


async def notify(env: Env, now: int) -> int:
    """Send what is due; returns how many messages moved."""
    call = Call(SYSTEM, now)
    due = await env.store.due(Notice, now, limit=AT_ONCE)
    return sum(await asyncio.gather(*(_send(env, call, row) for row in due)))


async def _send(env: Env, call: Call, row: Notice) -> int:
    approval = await env.store.get(Approval, row.approval)
    said = await _said(env, call, approval, row)
    _, force = await env.in_force()
    catalogue = force.catalogue
    wanted = [one for one in catalogue.notifications.values() if one.reaches(row.names, catalogue.people)]
    left = [one for one in wanted if one.name not in row.sent]
    if said is None:
        return await _put(env, call, events.NoticeEnded(row.approval, "nobody is asked any more"), row.done(), row)
    if approval is not None:
        await _owe(env, call, catalogue, approval)
    if not left:
        why = "every route took it" if row.sent else "no route is for those who are asked"
        return await _put(env, call, events.NoticeEnded(row.approval, why), row.done(), row)
    failed: list[str] = []
    for route in left:
        if await _delivered(env, call, route, *said):
            after = row.took(route.name)
            if not await _put(env, call, events.NoticeSent(row.approval, route.name), after, row):
                return 0  # another replica sends it too: at least once
            row = await env.store.get(Notice, row.key) or after
        else:
            failed.append(route.name)
    if failed:
        because = events.NoticeFailed(row.approval, tuple(failed), row.attempts + 1)
        return await _put(env, call, because, row.failed(env.clock()), row)
    return await _put(env, call, events.NoticeEnded(row.approval, "every route took it"), row.done(), row)


async def _owe(env: Env, call: Call, catalogue: Catalogue, approval: Approval) -> None:
    """Who can be asked in their provider's own app is owed one request, however often this is done."""
    for row in reached(approval, catalogue.providers, catalogue.people, call.now):
        if await env.store.get(BackchannelRequest, row.key) is None:
            because = events.BackchannelOwed(row.approval, row.person, row.provider, code(row.digest))
            await attempt(env, Change(because, call).put(row, was=None))


async def _said(env: Env, call: Call, approval: Approval | None, row: Notice) -> tuple[str, str] | None:
    """Title and text; None when nobody is asked any more."""
    if approval is not None:
        title = f"{approval.chain.agents()[-1]} waits for you"
        return (title, message(env, approval)) if approval.pending_at(call.now) else None
    about, _, began = row.approval.rpartition("@")
    if about.startswith("review "):
        return await _of_review(env, about.removeprefix("review "), began)
    found = await env.store.get(Succession, about)
    if found is None or not found.waits or str(found.began_at) != began:
        return None
    when = datetime.fromtimestamp(found.until / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    who = f"{found.owner} {'left' if found.missing is Missing.LEFT else 'has not confirmed it'}"
    text = f"Nobody answers for {found.key}: {who}. If nobody takes it over it is frozen at {when}."
    return f"{found.key} needs an owner", f"{text}\n\n{env.issuer_url}/console/successions"


async def _of_review(env: Env, agent: str, number: str) -> tuple[str, str] | None:
    row = await env.store.get(Review, agent)
    if row is None or not row.waits or str(row.round) != number:
        return None
    narrow, freeze = (
        datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC") for at in (row.narrow_at, row.freeze_at)
    )
    first = (
        "It has lost what it never used" if row.narrowed_at else f"Unanswered it loses what it never used at {narrow}"
    )
    text = f"Say what becomes of {agent}. {first}, and stops at {freeze}."
    return f"{agent} is to be reviewed", f"{text}\n\n{env.issuer_url}/console/reviews/{agent}"


async def _delivered(env: Env, call: Call, route: Route, title: str, text: str) -> bool:
    """Whether the route took it. Nothing of the address is said, here or in any event (law 10)."""
    try:
        address = await env.unsealed(route.secret, call.now)
        async with asyncio.timeout(TIMEOUT):
            await env.notifier.send(address, title, text)
    except (Refusal, TimeoutError):
        return False
    return True


def message(env: Env, approval: Approval) -> str:
    """One sentence, why, and where to answer; what an agent wrote cannot break a line or hide a letter."""
    sentence = approval.shown.sentence
    shown = sentence if len(sentence) <= SENTENCE else sentence[:SENTENCE] + "… (not all of it; open it to see)"
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in f"{shown} {' '.join(approval.shown.why)}")
    return f"{plain}\n\n{env.issuer_url}/console/approvals/{approval.id}"


async def _put(env: Env, call: Call, because: events.Event, after: Notice, was: Notice) -> int:
    return int(await attempt(env, Change(because, call).put(after, was=was)))
