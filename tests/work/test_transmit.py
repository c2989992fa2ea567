"""Pushing over a store in process and real HTTP: replicas, receivers that go away, and a log that says nothing to them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import jwt
import pytest

from remit.attest.signals import SignalsOverHttp
from remit.domain.caller import CallerKind
from remit.domain.signal import CAEP, SSF
from remit.domain.stream import INACTIVE, Stream, StreamState
from remit.govern import outward
from remit.verbs import stream as verb
from remit.verbs.revoke import end_task
from remit.verbs.rotate import begin, replace_now
from remit.verbs.stream import Wanted
from remit.work import transmit
from remit.work.sequence import sequence
from remit.work.transmit import Transmitting
from tests.receiver import Inbox
from tests.world import FILES, world

REVOKED, CHANGED = CAEP + "session-revoked", CAEP + "credential-change"
ENTRY = '[receivers.siem]\naudience = "siem"\neverything = true\nallow_private_network = true\n'
WITH = {**FILES, "remit.toml": FILES["remit.toml"] + ENTRY}


class House:
    def __init__(self, w, inbox, call):
        self.w, self.inbox, self.call = w, inbox, call
        self.replicas = [Transmitting(), Transmitting()]

    @classmethod
    async def open(cls, inbox, *, poll=False):
        w = await world(files=WITH)
        w.env = replace(w.env, signals=SignalsOverHttp())
        h = cls(w, inbox, w.call(CallerKind.RECEIVER, "siem"))
        await begin(w.env, w.call(CallerKind.OPERATOR, "op"), "signal")
        await h.sequenced()
        size, _ = await w.store.head()
        url = "" if poll else inbox.url
        await verb.make(w.env, h.call, Wanted((REVOKED, CHANGED), url), size)
        _, h.agent = await w.proved()
        return h

    async def sequenced(self):
        while await sequence(self.w.store, self.w.env.signer, "remit.test/log"):
            pass

    async def ends(self, count=1):
        for _ in range(count):
            task = await self.w.task(self.agent)
            await end_task(self.w.env, replace(self.agent, now=self.w.clock.now), task.id, "done")
        await self.sequenced()

    async def passes(self, *replicas):
        for _ in range(4):
            looks = [one.look(self.w.env, self.w.store) for one in replicas or self.replicas]
            await asyncio.gather(*looks)
            await asyncio.gather(*(one.finish() for one in self.replicas))
            await self.sequenced()

    async def row(self):
        return await self.w.store.get(Stream, "siem")


@pytest.fixture
def inbox():
    with Inbox() as running:
        yield running


def taken(inbox):
    claims = [jwt.decode(text, options={"verify_signature": False}) for text in inbox.taken]
    return [one["jti"] for one in claims], claims


async def everything(h):
    """The ids of all that the log says to this receiver, in the log's order."""
    _, force = await h.w.env.in_force()
    row = await h.row()
    found, _ = await outward.waiting(h.w.env, h.w.store, row, force.catalogue.receivers["siem"], start=0, limit=1000)
    return [event.jti for _, event in found]


def test_two_replicas_send_everything_once_and_in_order(run, inbox):
    async def main():
        h = await House.open(inbox)
        await h.ends(40)
        await h.passes()
        found, _ = taken(inbox)
        assert len({*found}) == 40 and found == await everything(h)
        size, _ = await h.w.store.head()
        await h.passes()
        assert (await h.w.store.head())[0] == size and h.w.events().count("SignalsDelivered") == 2

    run(main())


def test_whoever_is_slow_is_not_overtaken_by_another_replica(run, inbox):
    async def main():
        h = await House.open(inbox)
        await h.ends(3)
        inbox.answers = [0.4]
        first = h.replicas[0]
        await first.look(h.w.env, h.w.store)
        await asyncio.sleep(0.1)
        await h.replicas[1].look(h.w.env, h.w.store)
        assert await first.look(h.w.env, h.w.store) is False  # it is at it
        await h.passes()
        assert len(inbox.came) == 3

    run(main())


def test_a_receiver_that_is_gone_is_paused_in_sight_and_nothing_is_lost(run, inbox):
    async def main():
        h = await House.open(inbox)
        await h.ends()
        inbox.answers = [500] * 50
        for _ in range(12):
            await h.passes(h.replicas[0])
            h.w.clock.now += 300_000
        row = await h.row()
        assert row.attempts > 10 and row.error == "status 500" and row.state is StreamState.ENABLED
        h.w.clock.now = row.failing + INACTIVE + 1
        await h.passes()
        row = await h.row()
        assert row.state is StreamState.PAUSED and row.reason.startswith("nothing was taken since")
        came = len(inbox.came)
        await h.ends()
        await h.passes()
        assert len(inbox.came) == came
        inbox.answers = []
        call = replace(h.call, now=h.w.clock.now)
        await verb.turn(h.w.env, call, row.id, StreamState.ENABLED, "", 0)
        await h.passes()
        _, claims = taken(inbox)
        kinds = [next(iter(one["events"])) for one in claims]
        assert kinds == [REVOKED, SSF + "stream-updated", REVOKED]
        assert claims[1]["events"][kinds[1]]["status"] == "paused" and claims[1]["sub_id"]["id"] == row.id

    run(main())


def test_a_poller_that_never_comes_is_paused(run, inbox):
    async def main():
        h = await House.open(inbox, poll=True)
        await h.ends()
        await h.passes()
        assert (await h.row()).state is StreamState.ENABLED
        h.w.clock.now += INACTIVE + 1
        await h.passes()
        row = await h.row()
        assert (row.state, row.reason) == (StreamState.PAUSED, "nobody polled for seven days") and not inbox.came

    run(main())


def test_what_says_nothing_is_passed_over_and_seldom_written_down(run, inbox, monkeypatch):
    monkeypatch.setattr(transmit, "FAR", 20)

    async def main():
        h = await House.open(inbox)
        for _ in range(6):
            await h.w.task(h.agent)
        await h.sequenced()
        await h.passes()
        before = (await h.row()).position
        for _ in range(20):
            await h.w.task(h.agent)
        await h.sequenced()
        await h.passes()
        size, _ = await h.w.store.head()
        assert before < (await h.row()).position <= size and h.w.events().count("SignalsDelivered") == 1
        await h.ends()
        await h.passes()
        assert len(inbox.taken) == 1

    run(main())


def test_a_stream_that_is_changed_while_it_is_sent_is_looked_at_again(run, inbox):
    async def main():
        h = await House.open(inbox)
        await h.ends(2)
        inbox.answers = [0.3]
        await h.replicas[0].look(h.w.env, h.w.store)
        await asyncio.sleep(0.1)
        await verb.change(h.w.env, h.call, (await h.row()).id, Wanted(description="x"))
        await h.passes()
        found, _ = taken(inbox)
        assert found == 2 * await everything(h) and len(found) == 4  # sent again, under the same ids

    run(main())


def test_a_receiver_that_is_not_in_the_catalogue_any_more_gets_nothing(run, inbox):
    async def main():
        from remit.verbs.apply import apply

        h = await House.open(inbox)
        await h.ends()
        await apply(h.w.env, h.w.call(CallerKind.OPERATOR, "op"), FILES)
        await h.passes()
        assert not inbox.came

    run(main())


def test_keys_and_passkeys(run, inbox):
    async def main():
        h = await House.open(inbox)
        operator = h.w.call(CallerKind.OPERATOR, "op")
        await replace_now(h.w.env, operator, "token", "found on a bus")
        await replace_now(h.w.env, operator, "client", "not theirs")
        await h.sequenced()
        await h.passes()
        ((_,), (one,)) = taken(inbox)
        said = one["events"][CHANGED]
        assert (said["change_type"], said["credential_type"]) == ("revoke", "signing-key")
        assert said["initiating_entity"] == "admin" and said["reason_admin"] == {"en": "found on a bus"}
        assert one["sub_id"] == {"format": "uri", "uri": "https://remit.test/.well-known/jwks.json"}
        for kind, change in (("PasskeyRegistered", "create"), ("PasskeyRemoved", "delete")):
            entry = {"type": kind, "at": 5, "by": "person:dana", "data": {"person": "dana", "passkey": "p"}}
            seen = await outward.occurrence(h.w.env, entry)
            assert seen.details["change_type"] == change and seen.subject["sub"] == "person:dana"
        for gone in ("TaskEnded", "LeaseEnding", "LeaseEnded"):
            entry = {"type": gone, "at": 5, "by": "x", "data": {"task": "no", "lease": "no"}}
            assert await outward.occurrence(h.w.env, entry) is None
        assert await outward.occurrence(h.w.env, {"type": "TokenIssued", "data": {}}) is None

    run(main())
