"""A report: every claim about every control, as one JSON value that follows from what it carries.

`judged` and `summed` are pure, and `verify` runs them again on a report that it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from remit import __version__
from remit.ports import Env

from . import present
from .acts import Acts, Counted, acts, made_at, stretch
from .frameworks import Framework, framework
from .mechanism import Mechanism, Present, State

TYPE = "remit.evidence.v1"
COVERED, PARTLY, OFF, NOT = "covered", "partly covered", "not in force", "not covered"
STATUSES = (COVERED, PARTLY, OFF, NOT)


class Log(Counted, present.Log, Protocol):
    """What a report needs of a store."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which frameworks, and counts since when (ms; 0: since the log began)."""

    frameworks: tuple[str, ...]
    since: int


async def report(env: Env, log: Log, log_name: str, asked: Asked, now: int) -> dict[str, Any]:
    """What there is to say now. Its events are the log's own bytes."""
    chosen = [framework(name) for name in asked.frameworks]
    there = await present.read(env, log, log_name, now)
    start, end = await stretch(log, asked.since)
    used = _used(chosen)
    done = await acts(log, sorted({word for one in used for word in one.acts}), start, end)
    carried = {place: (await log.entries(place, place + 1))[0] for place in _places(done)}
    when = {place: made_at(leaf) for place, leaf in carried.items()}
    mechanisms = {one.id: _mechanism(one, there, done, when) for one in used}
    shown = [_framework(one, mechanisms) for one in chosen]
    return {
        "type": TYPE,
        "log": log_name,
        "release": __version__,
        "made_at": now,
        "since": asked.since,
        "counted": {"start": start, "end": end},
        "catalogue": there.head.digest,
        "summary": summed(shown, mechanisms),
        "frameworks": shown,
        "mechanisms": mechanisms,
        "events": {str(place): leaf.decode() for place, leaf in sorted(carried.items())},
    }


def _used(chosen: Sequence[Framework]) -> list[Mechanism]:
    return list({by.id: by for one in chosen for control in one.controls for by in control.by}.values())


def _places(done: Mapping[str, Acts]) -> list[int]:
    return sorted({place for one in done.values() for place in one.newest})


def _mechanism(one: Mechanism, there: Present, done: Mapping[str, Acts], when: Mapping[int, int]) -> dict[str, Any]:
    standing = one.now(there)
    counted = [{"word": word, "count": done[word].count, "newest": list(done[word].newest)} for word in one.acts]
    return {
        "does": one.does,
        "state": standing.state.value,
        "says": standing.says,
        "overdue": list(standing.overdue),
        "acts": counted,
        **acted(counted, when),
    }


def acted(counted: Sequence[Mapping[str, Any]], when: Mapping[int, int]) -> dict[str, Any]:
    """How often a mechanism acted in the stretch that was counted; where and when (ms; 0: never) it last did at all."""
    last = max((place for one in counted for place in one["newest"]), default=-1)
    return {"acted": sum(one["count"] for one in counted), "last": last, "last_at": when[last] if last >= 0 else 0}


def _framework(one: Framework, mechanisms: Mapping[str, Any]) -> dict[str, Any]:
    controls = [
        {
            "id": control.id,
            "title": control.title,
            "by": [by.id for by in control.by],
            "remains": control.remains,
            "why_not": control.why_not,
        }
        for control in one.controls
    ]
    judged_ = [{**control, "status": judged(control, mechanisms)} for control in controls]
    return {"id": one.id, "name": one.name, "source": one.source, "scope": one.scope, "controls": judged_}


def judged(control: Mapping[str, Any], mechanisms: Mapping[str, Any]) -> str:
    """COVERED: all of it is enforced, by mechanisms that are all in force, have all acted, and are behind with nothing.

    OFF: none of its mechanisms is in force. NOT: Remit has none. Everything else is PARTLY.
    """
    by = [mechanisms[name] for name in control["by"]]
    if not by:
        return NOT
    if all(one["state"] == State.OFF.value for one in by):
        return OFF
    whole = all(one["state"] == State.ON.value and one["acted"] and not one["overdue"] for one in by)
    return COVERED if whole and not control["remains"] else PARTLY


def summed(frameworks: Sequence[Mapping[str, Any]], mechanisms: Mapping[str, Any]) -> dict[str, Any]:
    """The first page: how many controls of each status, what is off, what never acted, what is overdue."""
    counts = {
        one["id"]: {status: sum(control["status"] == status for control in one["controls"]) for status in STATUSES}
        for one in frameworks
    }
    return {
        "controls": counts,
        "off": sorted(name for name, one in mechanisms.items() if one["state"] == State.OFF.value),
        "partly": sorted(name for name, one in mechanisms.items() if one["state"] == State.PARTLY.value),
        "never_acted": sorted(name for name, one in mechanisms.items() if not one["acted"]),
        "overdue": [said for _, one in sorted(mechanisms.items()) for said in one["overdue"]],
    }
