"""Rotate: the signing keys of one use, one step at a time, each in one commit that moves the use's `KeyTurn`.

Two processes that take the same step at once make one key: the other's commit is a `Conflict`.
"""

from __future__ import annotations

from collections.abc import Sequence

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import BadField, Busy, Conflict, WrongState
from remit.domain.keys import ROTATED, KeyState, KeyTurn, SigningKey, Step, due, in_state
from remit.formats import signing_key
from remit.ports import Env

ROUNDS = 16


async def rotate(env: Env, call: Call, use: str) -> SigningKey:
    """Publish the next key of this use; it signs when everybody can know it. One that is published already is it."""
    _checked(use)
    for _ in range(ROUNDS):
        turn, keys = await _keys(env, use)
        upcoming = in_state(keys, KeyState.NEXT)
        if upcoming is not None:
            return upcoming
        if in_state(keys, KeyState.CURRENT) is None:
            raise WrongState(f"Nothing is signed with a {use} key yet.")
        row = await _create(env, call, use, turn)
        if row is not None:
            return row
    raise Busy("The keys keep changing.", next_step="Look at `remit key signing`, then try again.")


async def begin(env: Env, call: Call, use: str) -> None:
    """Make the first key of a use that not every house has; there is none of it until it is needed."""
    turn, keys = await _keys(env, use)
    if not any(key.published for key in keys):
        row = signing_key.fresh(use, call.now, KeyState.CURRENT, call.now, env.sealer.seal)
        because = events.SigningKeyCreated(use, row.kid, row.public, row.signs_from)
        await _committed(env, _turned(Change(because, call), use, turn).put(row, was=None))
    await env.signer.refresh()


async def replace_now(env: Env, call: Call, use: str, reason: str) -> tuple[SigningKey, tuple[SigningKey, ...]]:
    """Destroy every key of this use and sign with a fresh one at once; returns it and the destroyed.

    For a key that may be known to somebody else. It breaks what is in use: everything signed before is refused.
    """
    _checked(use)
    for _ in range(ROUNDS):
        turn, keys = await _keys(env, use)
        row = signing_key.fresh(use, call.now, KeyState.CURRENT, call.now, env.sealer.seal)
        old = tuple(key for key in keys if key.published)
        gone = tuple(key.kid for key in old)
        because = events.SigningKeyReplaced(use, row.kid, row.public, gone, reason[:500])
        change = _turned(Change(because, call), use, turn).put(row, was=None)
        for key in old:
            change = change.put(key.destroyed(call.now), was=key)
        if await _committed(env, change):
            return row, old
    raise Busy("The keys keep changing.", next_step="Look at `remit key signing`, then try again.")


async def turn_keys(env: Env, call: Call, use: str) -> Step:
    """Take the step that is due at `call.now`, if any; returns what was done."""
    turn, keys = await _keys(env, use)
    step = due(keys, call.now, env.rotation.of(use))
    if step is Step.CREATE:
        return step if await _create(env, call, use, turn) else Step.NOTHING
    if step is Step.PROMOTE:
        return step if await _promote(env, call, use, turn, keys) else Step.NOTHING
    if step is Step.RETIRE:
        return step if await _retire(env, call, use, turn, keys) else Step.NOTHING
    return step


async def listed(env: Env) -> Sequence[SigningKey]:
    """Every signing key there is or was, use by use, newest first."""
    found = [key for use in signing_key.ALGORITHMS for key in (await _keys(env, use))[1]]
    order = {use: number for number, use in enumerate(signing_key.ALGORITHMS)}
    return sorted(found, key=lambda key: (order[key.use], -key.created_at, key.kid))


async def _create(env: Env, call: Call, use: str, turn: KeyTurn | None) -> SigningKey | None:
    row = signing_key.fresh(use, call.now, KeyState.NEXT, call.now + env.rotation.overlap, env.sealer.seal)
    because = events.SigningKeyCreated(use, row.kid, row.public, row.signs_from)
    change = _turned(Change(because, call), use, turn).put(row, was=None)
    return row if await _committed(env, change) else None


async def _promote(env: Env, call: Call, use: str, turn: KeyTurn | None, keys: Sequence[SigningKey]) -> bool:
    upcoming, current = in_state(keys, KeyState.NEXT), in_state(keys, KeyState.CURRENT)
    assert upcoming is not None and current is not None
    retire_at = call.now + env.rotation.of(use).retention
    because = events.SigningKeyPromoted(use, upcoming.kid, current.kid, retire_at)
    change = _turned(Change(because, call), use, turn).put(upcoming.promoted(call.now), was=upcoming)
    return await _committed(env, change.put(current.retiring(call.now, retire_at), was=current))


async def _retire(env: Env, call: Call, use: str, turn: KeyTurn | None, keys: Sequence[SigningKey]) -> bool:
    key = next(key for key in keys if key.state is KeyState.RETIRING and call.now >= key.retire_at)
    change = _turned(Change(events.SigningKeyRetired(use, key.kid), call), use, turn)
    return await _committed(env, change.put(key.retired(call.now), was=key))


async def _keys(env: Env, use: str) -> tuple[KeyTurn | None, list[SigningKey]]:
    """The turn first: whatever changes after it was read makes the commit a conflict."""
    turn = await env.store.get(KeyTurn, use)
    keys: list[SigningKey] = []
    while page := await env.store.find(SigningKey, {"use": use}, after=keys[-1].key if keys else "", limit=1000):
        keys += page
    return turn, keys


def _turned(change: Change, use: str, turn: KeyTurn | None) -> Change:
    return change.put(KeyTurn(use, turn.turns + 1 if turn else 1), was=turn)


async def _committed(env: Env, change: Change) -> bool:
    """Whether it happened."""
    try:
        await env.store.commit(change)
    except Conflict:
        return False
    await env.signer.refresh()
    return True


def _checked(use: str) -> None:
    if use not in ROTATED:
        raise BadField("use", f"must be one of {', '.join(ROTATED)}")
