"""Streams: who has one, what it is told, and how far it has been told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain.caller import CallerKind
from remit.domain.errors import Absent, BadCatalogue, BadField, Busy, Conflict, WrongState
from remit.domain.signal import CAEP
from remit.domain.stream import HEARD_EVERY, INACTIVE, VERIFY_EVERY, Occurrence, Receiver, Stream, StreamState, matches
from remit.formats.catalogue import parse
from remit.verbs import stream as verb
from remit.verbs.admit import admit
from remit.verbs.apply import apply
from remit.verbs.rewrap import rewrap
from remit.verbs.stream import FAR, Wanted
from tests.delegating import Between
from tests.world import FILES, world

REVOKED = CAEP + "session-revoked"
WITH = {**FILES, "remit.toml": FILES["remit.toml"] + '[receivers.rs]\naudience = "a"\naudiences = ["a"]\n'}
TASK = {"format": "opaque", "id": "t"}


async def house():
    w = await world(Between(), WITH)
    call = w.call(CallerKind.RECEIVER, "rs")
    row = await verb.make(w.env, call, Wanted((REVOKED,), "https://rs.example/x", "Bearer canary"), 5)
    return w, call, row


async def now(w):
    return await w.store.get(Stream, "rs")


def test_a_receiver_has_one_stream_and_its_header_is_sealed(run):
    async def main():
        w, call, row = await house()
        stored = await now(w)
        assert (stored.position, stored.kinds, stored.open) == (5, (REVOKED,), True)
        assert w.env.sealer.unseal(stored.authorization, stored.context) == b"Bearer canary"
        assert "canary" not in repr(stored) and not any(b"canary" in leaf for leaf, _ in w.store._events)
        with pytest.raises(WrongState):
            await verb.make(w.env, call, Wanted(), 9)
        assert (await rewrap(w.env, w.call(CallerKind.OPERATOR, "op"))).unopened == ()
        moved = await verb.change(w.env, call, row.id, Wanted(url="https://elsewhere.example/x"))
        assert moved.authorization == "" and moved.kinds == (REVOKED,)  # it was for the other address
        same = await verb.change(w.env, call, row.id, Wanted(kinds=(), description="x"))
        assert (same.url, same.kinds, same.description) == (moved.url, (), "x")
        gone = await verb.turn(w.env, call, row.id, StreamState.GONE, "", 9)
        assert not gone.open
        with pytest.raises(Absent):
            await verb.stream_of(w.env, call, row.id)
        again = await verb.make(w.env, call, Wanted(), 9)
        assert again.id != row.id and again.position == 9 and (await now(w)).version == 5
        with pytest.raises(Absent):
            await verb.stream_of(w.env, w.call(CallerKind.RECEIVER, "other"), again.id)
        operator = w.call(CallerKind.OPERATOR, "op")
        await admit(w.env, operator, CallerKind.RECEIVER, "rs", 1000)
        await apply(w.env, operator, FILES)
        for asked in (
            verb.stream_of(w.env, call, again.id),
            verb.make(w.env, call, Wanted(), 1),
            admit(w.env, operator, CallerKind.RECEIVER, "rs", 1000),
        ):
            with pytest.raises(Absent):
                await asked

    run(main())


def test_verification_is_not_asked_for_all_the_time(run):
    async def main():
        w, call, row = await house()
        await verb.verify(w.env, call, row.id, "s")
        with pytest.raises(Busy):
            await verb.verify(w.env, replace(call, now=call.now + VERIFY_EVERY - 1), row.id, "s")
        await verb.verify(w.env, replace(call, now=call.now + VERIFY_EVERY), row.id, "s")

    run(main())


def test_subjects_are_removed_and_added_within_bounds(run, monkeypatch):
    monkeypatch.setattr(verb, "MOST_SUBJECTS", 2)

    async def main():
        w, call, row = await house()
        for n in (1, 2, 2):
            await verb.want(w.env, call, row.id, {**TASK, "id": f"t{n}"}, wanted=False)
        with pytest.raises(BadField):
            await verb.want(w.env, call, row.id, {**TASK, "id": "t3"}, wanted=False)
        await verb.want(w.env, call, row.id, {**TASK, "id": "t1"}, wanted=True)
        stored = await now(w)
        assert stored.unwanted == ({**TASK, "id": "t2"},)
        assert stored.wants({**TASK, "id": "t1"}) and not stored.wants({**TASK, "id": "t2"})

    run(main())


def test_that_it_was_there_is_said_once_an_hour(run):
    async def main():
        w, call, row = await house()
        await verb.heard(w.env, call, row)
        late = replace(call, now=call.now + HEARD_EVERY)
        await verb.heard(w.env, late, row)
        assert (await now(w)).heard_at == late.now and w.events().count("StreamHeard") == 1

    run(main())


def test_what_a_poller_has_is_done_with_in_whatever_order(run):
    async def main():
        w, call, _ = await house()

        async def acked(done, returned=(), outstanding=(6, 8, 11), end=12):
            row = await now(w)
            left = [place for place in outstanding if place >= row.position]
            await verb.acknowledge(w.env, call, row, done, dict(returned), left, end)
            row = await now(w)
            return row.position, row.acked

        assert await acked([]) == (5, ()) and await acked([-1, 7, 99]) == (5, ())
        assert await acked([8]) == (6, (8,)) and await acked([8]) == (6, (8,))
        assert await acked([6]) == (11, ())
        assert await acked([], {11: "invalid_request", 99: "what"}) == (12, ())
        assert w.events().count("SignalReturned") == 1
        assert await acked([6, 8, 11]) == (12, ())  # again
        assert await acked([], outstanding=(), end=12 + FAR - 1) == (12, ())
        assert await acked([], outstanding=(), end=12 + FAR) == (12 + FAR, ())

    run(main())


def test_many_who_poll_at_once_lose_nothing(run):
    async def main():
        w, call, row = await house()
        row = await now(w)
        one, two = await asyncio.gather(
            *(verb.acknowledge(w.env, call, row, [place], {}, [6, 8], 9) for place in (6, 8)), return_exceptions=True
        )
        assert isinstance(two, Conflict) and one.position == 8

    run(main())


def test_a_change_between_is_seen_and_one_that_never_ends_is_told(run):
    async def main():
        w, call, row = await house()

        async def between():
            await verb.change(w.env, call, row.id, Wanted(description="between"))

        w.store.between = between
        after = await verb.turn(w.env, call, row.id, StreamState.PAUSED, "why", 9)
        assert (after.description, after.state) == ("between", StreamState.PAUSED)

        async def lost(change):
            raise Conflict("lost")

        w.store.commit = lost
        with pytest.raises(Busy):
            await verb.turn(w.env, call, row.id, StreamState.ENABLED, "", 9)

    run(main())


def test_states_and_back_off():
    row = Stream("rs", "str_1", 0, 5, (REVOKED,), url="https://x.example/", acked=(7, 30))
    paused = row.turned(StreamState.PAUSED, "x", 20)
    assert paused.turned(StreamState.ENABLED, "", 20).position == 5
    disabled = row.turned(StreamState.DISABLED, "x", 10)
    assert disabled.position == 5 and disabled.turned(StreamState.DISABLED, "", 20).position == 5
    assert (
        disabled.turned(StreamState.ENABLED, "", 20).position,
        disabled.turned(StreamState.PAUSED, "", 20).acked,
    ) == (20, (30,))
    failed = row
    for attempts, delay in enumerate((1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300), 1):
        failed = failed.failed(1000, "e" * 300)
        assert (failed.attempts, failed.due, failed.failing, len(failed.error)) == (
            attempts,
            1000 + delay * 1000,
            1000,
            200,
        )
    assert not failed.inactive_at(1000 + INACTIVE) and failed.inactive_at(1001 + INACTIVE)
    assert not row.inactive_at(2 * INACTIVE)  # nothing to push is no failure
    poller = replace(row, url="", heard_at=1)
    assert poller.inactive_at(2 + INACTIVE) and failed.reached(9).failing == 0


TASKED = {"format": "complex", "session": TASK, "user": {"format": "opaque", "id": "u"}}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (TASK, TASK, True),
        (TASK, {**TASK, "id": "x"}, False),
        (TASK, {"format": "complex", "session": TASK}, False),
        ({"format": "complex", "session": TASK}, TASKED, True),
        ({"format": "complex", "device": TASK}, TASKED, True),
        ({"format": "complex", "session": {**TASK, "id": "x"}}, TASKED, False),
    ],
)
def test_when_two_subjects_are_one(one, other, same):
    assert matches(one, other) is matches(other, one) is same


def test_who_is_told():
    row = Stream("rs", "str_1", 0, 5, (REVOKED,))
    mine = Occurrence(REVOKED, TASK, {}, 0, "bot", frozenset({"a"}))

    def told(seen, **receiver):
        return seen.is_for(row, Receiver("rs", "a", **receiver))

    assert told(mine, audiences=("a",)) and told(mine, agents=("bot",)) and told(mine, everything=True)
    assert not told(mine) and not told(mine, audiences=("b",), agents=("other",))
    assert told(replace(mine, public=True))
    assert not told(replace(mine, kind=CAEP + "credential-change"), everything=True)
    assert told(replace(mine, stream="str_1", kind="x")) and not told(replace(mine, stream="str_2"), everything=True)
    gone = replace(row, unwanted=(TASK,))
    assert not mine.is_for(gone, Receiver("rs", "a", everything=True))


@pytest.mark.parametrize("entry", ["", 'everything = true\nagents = ["bot"]', "everything = false"])
def test_whom_a_receiver_is_told_of_must_be_said(entry):
    with pytest.raises(BadCatalogue, match="say 'everything = true'"):
        parse({"remit.toml": f'[receivers.rs]\naudience = "a"\n{entry}\n'})
