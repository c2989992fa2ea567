"""The states of a signing key, and what a set of them needs when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.errors import WrongState
from remit.domain.keys import KeyState, Rotation, SigningKey, Step, due, in_state

TIMES = Rotation(after=1000, overlap=100, retention=500)
NEXT = SigningKey("b", "token", "ES256", "", 1000, KeyState.NEXT, 1100, sealed="x")
CURRENT = SigningKey("a", "token", "ES256", "", 0, KeyState.CURRENT, sealed="x")


def test_a_key_signs_only_after_it_was_published_and_verifies_until_its_time_is_over():
    with pytest.raises(WrongState):
        NEXT.promoted(1099)
    assert NEXT.promoted(1100).state is KeyState.CURRENT
    retiring = CURRENT.retiring(1100, 1600)
    assert retiring.published
    with pytest.raises(WrongState):
        retiring.retired(1599)
    gone = retiring.retired(1600)
    assert (gone.state, gone.sealed, gone.published, gone.key) == (KeyState.RETIRED, "", False, "a")


def test_there_is_no_other_arrow():
    arrows = {
        "promoted": (lambda key: key.promoted(10**6), {KeyState.NEXT}),
        "retiring": (lambda key: key.retiring(10**6, 2), {KeyState.CURRENT}),
        "retired": (lambda key: key.retired(10**6), {KeyState.RETIRING}),
        "destroyed": (lambda key: key.destroyed(10**6), set(KeyState) - {KeyState.RETIRED}),
    }
    for take, begins in arrows.values():
        for state in KeyState:
            key = replace(CURRENT, state=state)
            if state in begins:
                assert take(key).state is not state
            else:
                with pytest.raises(WrongState):
                    take(key)


def test_what_was_destroyed_has_no_private_half_and_verifies_nothing():
    for key in (NEXT, CURRENT, CURRENT.retiring(1, 2)):
        gone = key.destroyed(7)
        assert (gone.published, gone.sealed, gone.retire_at) == (False, "", 7)


@pytest.mark.parametrize(
    ("keys", "now", "step"),
    [
        ([], 0, Step.NOTHING),
        ([CURRENT], 999, Step.NOTHING),
        ([CURRENT], 1000, Step.CREATE),
        ([CURRENT, NEXT], 1099, Step.NOTHING),
        ([CURRENT, NEXT], 1100, Step.PROMOTE),
        (
            [replace(CURRENT, created_at=1000), replace(NEXT, state=KeyState.RETIRING, retire_at=1500)],
            1499,
            Step.NOTHING,
        ),
        (
            [replace(CURRENT, created_at=1000), replace(NEXT, state=KeyState.RETIRING, retire_at=1500)],
            1500,
            Step.RETIRE,
        ),
    ],
)
def test_one_step_at_a_time(keys, now, step):
    assert due(keys, now, TIMES) is step


def test_whoever_verifies_may_keep_keys_for_less_than_the_overlap():
    for overlap in (1_000, 2_000, 60_000, 3_600_000, 86_400_000):
        assert Rotation(overlap=overlap).cached_for * 1000 <= min(overlap / 2, 300_000)


@given(st.lists(st.integers(1, 400), max_size=60), st.integers(1, 2000), st.integers(1, 500), st.integers(1, 2000))
def test_whatever_the_clock_does_one_key_signs_and_what_it_signed_verifies(waits, after, overlap, retention):
    """Run the machine: exactly one CURRENT always, none signs before its time, none goes before `retention`."""
    times, now = Rotation(after, overlap, retention), 0
    keys = {"k0": replace(CURRENT, kid="k0")}
    last_signed: dict[str, int] = {}
    for wait in waits:
        now += wait
        step, rows = due(list(keys.values()), now, times), list(keys.values())
        current = in_state(rows, KeyState.CURRENT)
        if step is Step.CREATE:
            kid = f"k{len(keys)}"
            keys[kid] = SigningKey(kid, "token", "ES256", "", now, KeyState.NEXT, now + overlap)
        elif step is Step.PROMOTE:
            new = in_state(rows, KeyState.NEXT)
            assert now - new.created_at >= overlap
            keys[new.kid], keys[current.kid] = new.promoted(now), current.retiring(now, now + retention)
        elif step is Step.RETIRE:
            old = next(key for key in rows if key.state is KeyState.RETIRING and now >= key.retire_at)
            assert now - last_signed.get(old.kid, 0) >= retention
            keys[old.kid] = old.retired(now)
        signing = [key for key in keys.values() if key.state is KeyState.CURRENT]
        assert len(signing) == 1
        last_signed[signing[0].kid] = now
