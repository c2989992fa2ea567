"""Seal: static secrets in numbered versions. Put a newer one, bring an older one back, retire one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, Busy, Conflict, WrongState
from remit.domain.identity import checked_name
from remit.domain.secret import SealedSecret, SecretState, current
from remit.ports import Env

SECRET_LIMIT = 65_536
NOTE_LIMIT = 500
VERSIONS_LIMIT = 100
YEARS = 10 * 366 * 86_400_000
ROUNDS = 16


@dataclass(frozen=True, slots=True)
class Terms:
    """What is said of a version. `rotate_after` (ms) stays as it was when it is -1; 0 asks for no reminder."""

    note: str = ""
    expires_at: int = 0
    rotate_after: int = -1

    def checked(self, now: int) -> Terms:
        """Raise `BadField` for what makes no sense."""
        if len(self.note) > NOTE_LIMIT:
            raise BadField("note", f"longer than {NOTE_LIMIT} characters")
        if self.expires_at and not now < self.expires_at <= now + YEARS:
            raise BadField("expires_at", "must be in the next ten years")
        if not -1 <= self.rotate_after <= YEARS:
            raise BadField("rotate_after_ms", "must be at most ten years")
        return self


async def seal(env: Env, call: Call, name: str, plaintext: bytes, terms: Terms | None = None) -> SealedSecret:
    """Keep a secret as the next version of `name`; from now on it is the one that is minted."""
    checked_name("name", name)
    terms = (terms or Terms()).checked(call.now)
    if not 0 < len(plaintext) <= SECRET_LIMIT:
        raise BadField("value", f"must be 1 to {SECRET_LIMIT} bytes")
    try:
        plaintext.decode()
    except UnicodeDecodeError as binary:
        raise BadField("value", "must be UTF-8 text", next_step="Encode it, with base64 for instance.") from binary
    for _ in range(ROUNDS):
        try:
            return await _next(env, call, name, plaintext, terms, None)
        except Conflict:
            continue
    raise Busy("The secret keeps changing.", next_step="Try again.")


async def rollback(env: Env, call: Call, name: str, number: int = 0) -> SealedSecret:
    """Seal what version `number` holds (0: the one before the newest) again, as the next version."""
    for _ in range(ROUNDS):
        active = [v for v in await versions(env, name) if v.active_at(call.now)]
        if number:
            chosen = next((v for v in active if v.number == number), None)
        else:
            newest = current(active, call.now)
            chosen = current((v for v in active if v is not newest), call.now)
        if chosen is None:
            raise Absent(inside=f"version {number or 'before the newest'} of {name}")
        terms = Terms(note=f"version {chosen.number} again", expires_at=chosen.expires_at)
        plaintext = env.sealer.unseal(chosen.envelope, chosen.context)
        try:
            return await _next(env, call, name, plaintext, terms, chosen)
        except Conflict:
            continue
    raise Busy("The secret keeps changing.", next_step="Try again.")


async def _next(
    env: Env, call: Call, name: str, plaintext: bytes, terms: Terms, source: SealedSecret | None
) -> SealedSecret:
    known = await versions(env, name)
    if sum(v.state is SecretState.ACTIVE for v in known) >= VERSIONS_LIMIT:
        raise WrongState(f"{name} has {VERSIONS_LIMIT} active versions; retire some first.")
    last = known[-1] if known else None
    rotate_after = (last.rotate_after if last else 0) if terms.rotate_after < 0 else terms.rotate_after
    row = SealedSecret(
        name,
        "",
        call.now,
        str(call.caller),
        number=last.number + 1 if last else 1,
        note=terms.note,
        expires_at=terms.expires_at,
        rotate_after=rotate_after,
        rotate_at=call.now + rotate_after if rotate_after else 0,
    )
    row = replace(row, envelope=env.sealer.seal(plaintext, row.context))
    because = events.SecretSealed(name, row.number, source.number if source else 0)
    change = Change(because, call).put(row, was=None)
    change = change.check(source) if source else change
    for older in known:
        if older.rotate_at:
            change = change.put(older.superseded(), was=older)
    await env.store.commit(change)
    return replace(row, version=1)


async def retire(env: Env, call: Call, name: str, number: int, reason: str) -> SealedSecret:
    """Mint this version no more; reconciliation ends the leases that hold it and then destroys its envelope.

    When this returns no lease is reserved with it any more: a reservation checks the version's row in its own commit.
    """
    for _ in range(ROUNDS):
        row = next((v for v in await versions(env, name) if v.number == number), None)
        if row is None:
            raise Absent(inside=f"version {number} of {name}")
        if row.state is not SecretState.ACTIVE:
            return row
        retiring = row.retiring(call.now, reason[:NOTE_LIMIT])
        because = events.SecretRetiring(name, number, retiring.retire_reason)
        try:
            await env.store.commit(Change(because, call).put(retiring, was=row))
        except Conflict:
            continue
        env.nudge()
        return retiring
    raise Busy("The secret keeps changing.", next_step="Try again.")


async def versions(env: Env, name: str) -> list[SealedSecret]:
    """Every version there ever was, oldest first."""
    found: list[SealedSecret] = []
    after = ""
    while page := await env.store.find(SealedSecret, {"name": name}, after=after, limit=500):
        found += page
        after = page[-1].key
    return sorted(found, key=lambda row: row.number)
