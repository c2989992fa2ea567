"""Restore: say that the store was put back to an earlier state, and stop everything in that one commit (law 6)."""

from __future__ import annotations

from dataclasses import replace

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.freeze import Freeze, Frozen, Reach
from remit.domain.restore import Restored
from remit.formats.tlog import Checkpoint
from remit.ports import Store

REASON = "the store was restored to an earlier state"


async def declare(store: Store, call: Call, at: Checkpoint | None, known: Checkpoint | None) -> Restored:
    """Freeze everything and note the restore; `at` is the log's head in this state, `known` the newest that was seen.

    One that was declared and is not voided yet goes on.
    """
    before = await store.get(Restored, "restored")
    if before is not None and not before.voided_at:
        return before
    row = Restored(call.now, at.size if at else 0, known.size if known else 0)
    because = events.StoreRestored(row.size, at.root.hex() if at else "", row.known, known.root.hex() if known else "")
    frozen = await store.get(Frozen, "frozen")
    others = tuple(one for one in (frozen or Frozen()).freezes if one.reach is not Reach.EVERYTHING)
    everything = Freeze(Reach.EVERYTHING, "", call.now, REASON, str(call.caller))
    stopped = replace(frozen or Frozen(), freezes=(everything, *others))
    await store.commit(Change(because, call).put(row, was=before).put(stopped, was=frozen))
    return row
