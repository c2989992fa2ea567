"""Recognise: compare what scans have reported with what is minted and sealed here, and forget the rest.

A static secret is opened for that and compared: its print is kept nowhere, so a new root key makes no difference, and
what was sealed long ago is known too. Everything else has a print since it was minted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from remit.domain import events
from remit.domain.caller import AccessKey, Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import BadToken
from remit.domain.finding import Severity, Subject
from remit.domain.leak import Fingerprint, Leak, LeakKind, Live, ScanReport, Seen
from remit.domain.lease import Lease, LeaseState
from remit.domain.secret import SealedSecret, SecretState, current
from remit.formats import leak_digest
from remit.ports import Env
from remit.verbs.discover import Found, Recognised, report

from .kill_leases import attempt

SYSTEM = Caller(CallerKind.SYSTEM, "recognise")
PAGE = 200
_POWERFUL = (CallerKind.OPERATOR, CallerKind.ENFORCER, CallerKind.EDGE)


async def recognise(env: Env, now: int) -> int:
    """Compare what is due; returns how many reports that were. One that stops in between is compared again, and finds
    what it found already.
    """
    rows = await env.store.due(ScanReport, now, limit=20)
    sealed = await _sealed(env) if rows else {}
    return sum([await _match(env, Call(SYSTEM, now), row, sealed) for row in rows])


async def _match(env: Env, call: Call, row: ScanReport, sealed: Mapping[str, Sequence[SealedSecret]]) -> int:
    by = Call(Caller(CallerKind(row.found_by.partition(":")[0]), row.found_by.partition(":")[2]), call.now)
    known = 0
    for seen in row.seen:
        minted = await env.store.find(Fingerprint, {"print": seen.print})
        found = [await _minted(env, Leak.parse(one.of), seen, call.now) for one in minted]
        found += [await _static(env, one, seen, call.now) for one in sealed.get(seen.print, ())]
        for one in found:
            await report(env, by, one)
            known += 1
    because = events.ScanMatched(row.id, known)
    return int(await attempt(env, Change(because, call).put(row.matched(call.now, known), was=row)))


async def _sealed(env: Env) -> Mapping[str, Sequence[SealedSecret]]:
    """Every version that still has an envelope, by its print."""
    found: dict[str, list[SealedSecret]] = {}
    after = ""
    while page := await env.store.find(SealedSecret, {}, after=after, limit=PAGE):
        for row in page:
            with suppress(BadToken):  # under a root key that is not here: `remit secret rewrap` says which
                if row.state is SecretState.RETIRED:
                    continue
                text = env.sealer.unseal(row.envelope, row.context).decode()
                found.setdefault(env.print_of(leak_digest.seen(env.scan_key, text)), []).append(row)
        after = page[-1].key
        await asyncio.sleep(0)  # others have their turn
    return found


async def _minted(env: Env, leak: Leak, seen: Seen, now: int) -> Found:
    if leak.kind is LeakKind.LEASE:
        lease = await env.store.get(Lease, leak.name)
        assert lease is not None  # written with its print
        alive = {LeaseState.ENDED: Severity.LOW, LeaseState.ENDING: Severity.MEDIUM}.get(lease.state, Severity.HIGH)
        return _found(alive, Subject.TASK, lease.task, f"{lease.credential}, minted for {lease.agent}", leak, seen)
    key = await env.store.get(AccessKey, leak.name)
    assert key is not None
    bad = Severity.CRITICAL if key.kind in _POWERFUL else Severity.HIGH
    alive = bad if now < key.expires_at else Severity.LOW
    return _found(alive, Subject.KEY, key.digest, f"a key of {key.kind.value} {key.name}", leak, seen)


async def _static(env: Env, row: SealedSecret, seen: Seen, now: int) -> Found:
    versions = await env.store.find(SealedSecret, {"name": row.name, "state": SecretState.ACTIVE.value}, limit=1000)
    handed_out = current(versions, now)
    severity = Severity.MEDIUM if row.active_at(now) else Severity.LOW
    severity = Severity.HIGH if handed_out is not None and handed_out.label == row.label else severity
    what = f"version {row.number} of secret {row.name}"
    return _found(severity, Subject.SECRET, row.name, what, Leak(LeakKind.SECRET, row.label), seen)


def _found(severity: Severity, subject: Subject, name: str, what: str, leak: Leak, seen: Seen) -> Found:
    good = ", and still opens what it is for" if seen.live is Live.YES else ""
    title = f"leaked: {what}{good}"[:200]
    return Found(severity, subject, name, title, recognised=Recognised(leak, seen.print, seen.place))
