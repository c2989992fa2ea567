"""From when on a task can have no permit: what was acknowledged to whoever ended it, froze it or changed its purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .evidence import Entry, Evidence, Violation
from .history import Op

MS = 1_000_000  # ns
FOREVER = 2**63
EFFECTS = {"look": "read", "write": "write", "pay": "irreversible"}


@dataclass(frozen=True)
class Ban:
    """From `since` (acknowledged) to `until` (something that lifts it was sent), ns, tasks like this get no permit."""

    why: str
    since: int
    until: int
    op: Op

    def forbids(self, call: Op, bound: int) -> bool:
        return call.sent > self.since + bound and call.answered < self.until


def no_permit_after(found: Evidence) -> Iterator[Violation]:
    """At a replica, none that was sent after the acknowledgement; at an edge, none that was sent later than its bound."""
    ended: dict[str, Ban] = {}
    for op in found.ops:
        if op.kind == "end" and op.said == "ok":
            ban = Ban("it was ended", op.answered, FOREVER, op)
            ended[op.task] = min(ban, ended.get(op.task, ban), key=lambda one: one.since)
    wide = [(ban, covers) for ban, covers in _wide(found)]
    for call in found.ops:
        if call.kind != "call" or call.said != "permit":
            continue
        bound = found.edges.get(call.door, {}).get(EFFECTS.get(str(call.more.get("tool")), ""), 0) * MS
        opened = found.opened.get(call.task)
        bans = [ended[call.task]] if call.task in ended else []
        bans += [ban for ban, covers in wide if opened is not None and covers(opened)]
        for ban in bans:
            if ban.forbids(call, bound):
                late = (call.sent - ban.since) / MS
                said = f"{call.door} permitted a call sent {late:.1f} ms after {ban.why}, acknowledged by {ban.op.door}"
                yield Violation("no permit after", said, call.task, call)
                break


def _wide(found: Evidence) -> Iterator[tuple[Ban, Callable[[Op], bool]]]:
    """Freezes and catalogues. What lifts one is found in the log: a request of long ago may arrive late."""
    places = {op.trace: op for op in found.ops}
    for op in found.ops:
        if op.said != "ok" or op.kind not in ("freeze", "apply"):
            continue
        began = found.events(op, "Froze" if op.kind == "freeze" else "CatalogueApplied")
        if len(began) != 1:
            continue  # it was frozen, or in force, before
        lifted = next((e for e in found.log[began[0].place + 1 :] if _lifts(e, op)), None)
        until = FOREVER
        if lifted is not None:
            by = places.get(lifted.trace)
            until = max(op.answered, by.sent) if by is not None else op.answered
        if op.kind == "freeze":
            reach, name = str(op.more["reach"]), op.more["name"]
            yield (
                Ban(f"{reach} {name} was frozen", op.answered, until, op),
                lambda opened, reach=reach, name=name: opened.more.get(reach) == name,
            )
        else:
            yield (
                Ban("its purpose was changed", op.answered, until, op),
                lambda opened, sent=op.sent: opened.more.get("purpose") == "moving" and opened.answered < sent,
            )


def _lifts(entry: Entry, op: Op) -> bool:
    if op.kind == "apply":
        return entry.kind == "CatalogueApplied"
    return entry.kind == "Unfroze" and (entry.data["reach"], entry.data["name"]) == (op.more["reach"], op.more["name"])
