"""How a broken law is told, and how much was answered meanwhile."""

from __future__ import annotations

from .bans import MS
from .evidence import Entry, Evidence, Violation


def availability(found: Evidence) -> dict[str, tuple[int, int]]:
    """Of the calls sent to each door while things went wrong: how many were answered, of how many."""
    calls = [op for op in found.ops if op.kind == "call"]
    doors = dict.fromkeys(op.door for op in calls)
    return {
        door: (sum(op.acknowledged for op in calls if op.door == door), sum(op.door == door for op in calls))
        for door in sorted(doors)
    }


def story(found: Evidence, broken: Violation) -> list[str]:
    """What matters of that task, from everybody, in order: the requests by the one clock, each with its events.

    Calls that were permitted or denied as they should be are only counted.
    """
    if not broken.task:
        return [f"{broken.rule}: {broken.said}"]
    zero = min((op.sent for op in found.ops), default=0)
    told: list[tuple[int, str]] = []
    plain = 0
    opened = found.opened.get(broken.task)
    names = {opened.more.get("agent"), opened.more.get("purpose")} if opened else set()
    shown: set[int] = set()
    wide = {"freeze": "froze", "unfreeze": "froze", "apply": "changed"}
    copied = broken.op.more.get("of") if broken.op else None
    for op in found.ops:
        asked = wide.get(op.kind)
        if asked is None and op.task != broken.task:
            continue
        if asked is not None and (asked not in broken.said or op.more.get("name", "moving") not in names):
            continue
        if op.kind in ("call", "replay") and op is not broken.op and op.trace != copied:
            plain += op.kind == "call"
            shown.update(entry.place for entry in found.by_trace.get(op.trace, ()))
            continue
        answer = f"{op.said} after {(op.answered - op.sent) / MS:.1f} ms" if op.acknowledged else "no answer"
        more = {k: v for k, v in op.more.items() if k not in ("agent", "purpose")}
        told.append(
            (op.sent, f"{(op.sent - zero) / 1e9:9.4f} s  {op.who} → {op.door}: {op.kind} {more or ''} {answer}")
        )
        for entry in found.by_trace.get(op.trace, ()):
            shown.add(entry.place)
            told.append((op.sent, f"{'':11}    place {entry.place}: {_brief(entry)}"))
    rest = [e for e in found.by_task.get(broken.task, ()) if e.place not in shown and not e.permits]
    lines = [line for _, line in sorted(told, key=lambda one: one[0])]
    lines += [f"{'':11}    place {entry.place}: {_brief(entry)}" for entry in rest[:40]]
    return [
        f"{broken.rule}: task {broken.task}: {broken.said}",
        *lines,
        f"{'':11}  and {plain} other calls of this task",
    ]


def _brief(entry: Entry) -> str:
    dull = (
        "task",
        "agent",
        "catalogue",
        "access",
        "policies",
        "goal",
        "parameters",
        "trust",
        "sensitivity",
        "jkt",
        "jti",
    )
    shown = {k: v for k, v in entry.data.items() if v and k not in dull}
    return f"{entry.kind} by {entry.said['by']} {shown} writes {[w[:3:2] for w in entry.said['writes']]}"
