"""What purposes grant against what was used of them, and the diff that would narrow them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import Absent, BadField, Busy
from remit.govern.excess import Excess
from remit.govern.rightsize import Proposal, Rightsizing, rightsize

from .house import Asked, House
from .problems import HEADERS, json_response

MOST = 20  # purposes at once
SECONDS = 120.0
_turn = asyncio.Lock()


async def found(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """Of `?of=`, `?days=`, `?force=yes`: one at a time, since it reads much of the log."""
    days, force = asked.whole("days", 30, most=366), asked.query.get("force", "") == "yes"
    if not days:
        raise BadField("days", "must be 1 to 366")
    names = await _names(house, asked.query.get("of", ""))
    if _turn.locked():
        raise Busy("Somebody else's is being worked out.", next_step="Try again in a moment.")
    try:
        async with _turn, asyncio.timeout(SECONDS):
            return shape(await rightsize(house.env, house.log, names, now=call.now, days=days, force=force))
    except TimeoutError as slow:
        raise Busy(f"It takes longer than {SECONDS:.0f} s.", next_step="Ask for one purpose, or fewer days.") from slow


async def _names(house: House, of: str) -> list[str]:
    _, force = await house.env.in_force()
    names = [name for name, one in sorted(force.catalogue.purposes.items()) if not of or of in (name, *one.agents)]
    if not names:
        raise Absent(inside=f"no purpose or agent {of[:100]!r}")
    if len(names) > MOST:
        raise BadField("of", f"is needed: there are {len(names)} purposes, and {MOST} are looked at at once")
    return names


async def proposals(house: House, call: Call, asked: Asked) -> Response:
    """Of `?of=` (a purpose, or an agent's purposes; none: all): use, what could go, and the replay that shows it."""
    return json_response(await found(house, call, asked))


async def diff(house: House, call: Call, asked: Asked) -> Response:
    """The same as a unified diff of the catalogue's files, to review and apply; empty when nothing could go."""
    text = "".join(one["diff"] for one in (await found(house, call, asked))["items"])
    headers = {**HEADERS, "Content-Disposition": 'attachment; filename="rightsize.diff"'}
    return Response(text, headers=headers, media_type="text/x-diff; charset=utf-8")


def shape(found: Rightsizing) -> dict[str, Any]:
    """As JSON; `says` is what the replay showed, in words."""
    return {
        "against": found.against,
        "broken": found.broken,
        "already": found.already,
        "replay": asdict(found.replayed) if found.replayed else None,
        "says": _says(found),
        "files": dict(found.files),
        "items": [_shape(one) for one in found.proposals],
    }


def _says(found: Rightsizing) -> list[str]:
    told = found.replayed
    if told is None:
        return ["Nothing could go."]
    lines = [
        f"{told.replayed:,} calls of that time were decided again by what is proposed. Of those that happened, "
        f"{found.broken or 'none'} would have been stopped."
    ]
    if found.already:
        lines.append(f"What is in force would stop {found.already:,} of them itself: it has changed since.")
    if told.unknown:
        lines.append(f"Of {told.unknown:,} it cannot be told: a policy asks for their arguments.")
    if not told.whole:
        lines.append("Older ones of that time were not decided again; what was never used goes by the whole log.")
    return lines


def _shape(one: Proposal) -> dict[str, Any]:
    excess = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in asdict(one.excess).items() if v}
    facts = {name: getattr(one.seen, name) for name in ("since", "tasks", "days", "calls", "longest", "whole")}
    unused = one.seen.unused
    return {
        "purpose": one.purpose,
        "seen": {**facts, "agents": sorted(one.seen.agents)},
        "unused": {"tools": sorted(unused.tools), "credentials": sorted(unused.credentials)},
        "uses": [asdict(use) for use in one.seen.uses],
        "excess": excess,
        "loses": _loses(one.excess),
        "kept": list(one.kept),
        "file": one.file,
        "diff": one.diff,
    }


def _loses(excess: Excess) -> list[str]:
    lists = {"tool": excess.tools, "credential": excess.credentials, "agent": excess.agents}
    lists |= {"environment": excess.environments}
    found = [f"{noun} {name}" for noun, names in lists.items() for name in sorted(names)]
    found += [f"data above {excess.sensitivity}"] if excess.sensitivity else []
    found += [f"more than {excess.max_calls:,} calls a task"] if excess.max_calls else []
    minutes = excess.max_duration // 60_000
    return found + ([f"more than {minutes:,} minute{'' if minutes == 1 else 's'} a task"] if minutes else [])
