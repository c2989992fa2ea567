"""What metrics read of the store when somebody asks: each is an index look-up with a bound."""

from __future__ import annotations

import json
from collections import Counter

from remit.domain.approval import Approval, ApprovalState
from remit.domain.keys import KeyState, SigningKey
from remit.domain.lease import Lease, LeaseState
from remit.domain.restore import Restored
from remit.domain.task import Task, TaskState
from remit.govern.out import sinks, witnesses

from .api_shadow import shadows
from .house import House

MANY = 100_000
SOME = 1000


async def read_gauges(house: House, now: int) -> None:
    """Set every gauge that is read."""
    show, store = house.metrics.show, house.env.store
    tasks = await store.tally(Task, {"state": TaskState.OPEN.value}, "state", limit=MANY)
    show("remit_tasks_open", {(): sum(tasks.values())})
    held: dict[tuple[str, ...], float] = {}
    for state in (LeaseState.RESERVED, LeaseState.LIVE):
        by_issuer = await store.tally(Lease, {"state": state.value}, "issuer", limit=MANY)
        held |= {(state.value, issuer): count for issuer, count in by_issuer.items()}
    show("remit_leases_held", held)
    waiting = await store.find(Approval, {"state": ApprovalState.PENDING.value}, limit=SOME)
    show("remit_approvals_waiting", {(): len(waiting)})
    show("remit_approvals_oldest_seconds", {(): _age(now, min((row.asked_at for row in waiting), default=now))})
    show("remit_freezes", {(): len((await house.env.frozen()).freezes)})
    show("remit_shadows", Counter((one.kind.value,) for one, _ in await shadows(house)))
    restored = await store.get(Restored, "restored")
    show("remit_restore_unfinished", {(): float(restored is not None and not restored.swept_at)})
    show("remit_root_key_replacing", {(): float(house.env.sealer.replacing)})
    await _out(house, now)
    await _keys(house, now)
    await _log(house, now)


async def _out(house: House, now: int) -> None:
    given = {(one.name,): one for one in await sinks(house.env, house.log, now)}
    by = {(one.name,): one for one in await witnesses(house.env, house.log)}
    read: dict[str, dict[tuple[str, ...], float]] = {
        "remit_out_behind": {of: float(one.behind) for of, one in given.items()},
        "remit_out_lag_seconds": {of: one.lag / 1000 for of, one in given.items()},
        "remit_out_failing_seconds": {of: _age(now, one.failing or now) for of, one in given.items()},
        "remit_out_paused": {of: float(one.state == "paused") for of, one in given.items()},
        "remit_witness_behind": {of: float(one.behind) for of, one in by.items()},
        "remit_witness_cosigned_seconds": {
            of: _age(now, one.cosigned_at) if one.cosigned_at else -1.0 for of, one in by.items()
        },
        "remit_witness_refused": {of: float(bool(one.refused)) for of, one in by.items()},
    }
    for name, values in read.items():
        house.metrics.show(name, values)


async def _keys(house: House, now: int) -> None:
    ages: dict[tuple[str, ...], float] = {}
    after = ""
    while rows := await house.env.store.find(SigningKey, {}, after=after, limit=SOME):
        ages |= {(row.use,): _age(now, row.created_at) for row in rows if row.state is KeyState.CURRENT}
        after = rows[-1].key
    house.metrics.show("remit_signing_key_age_seconds", ages)


async def _log(house: House, now: int) -> None:
    show = house.metrics.show
    size, _ = await house.log.head()
    house.metrics.log_size.set(size)
    last = await house.log.entries(size - 1, size) if size else []
    show("remit_log_checkpoint_age_seconds", {(): _age(now, _at(last[0])) if last else 0.0})
    unsequenced = await house.log.unsequenced(SOME)
    show("remit_log_waiting", {(): len(unsequenced)})
    show("remit_log_lag_seconds", {(): _age(now, _at(unsequenced[0][1])) if unsequenced else 0.0})


def _at(leaf: bytes) -> int:
    return int(json.loads(leaf)["at"])


def _age(now: int, at: int) -> float:
    return max(0, now - at) / 1000
