"""Frames over NATS JetStream: real servers, a real centre and a real edge behind a leaf node; and who publishes lies."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import httpx
import msgspec
import nats as client
import pytest

from remit.domain.errors import BadField, Unavailable
from remit.domain.freeze import Reach
from remit.domain.task import TaskState
from remit.estate import nats as over_nats
from remit.estate.nats import Nats, NatsBus, NatsStream, servers, stream_of
from remit.formats import base64url
from remit.formats import estate as statements
from remit.formats.estate import Said, Statement
from remit.verbs.freeze import freeze, unfreeze
from remit.web.frames import Frames
from remit.work.publish import Publish
from tests.edge.estate import estate
from tests.edge.link import free_port
from tests.edge.nats_servers import HUB, hub_and_leaf, nats_server
from tests.edge.test_following import ended, follow, forged, true
from tests.issuers.nats_house import Key as NKey
from tests.issuers.nats_house import connect, creds_of, signed
from tests.issuers.nats_house import house as nats_house
from tests.replicas.estate import estate as replicas
from tests.server import eventually


@pytest.fixture(scope="module")
def nats():
    with hub_and_leaf() as both:
        yield both


@pytest.fixture(scope="module")
def world(nats, tmp_path_factory):
    hub, leaf = nats
    at_edge = {"REMIT_EDGE_NATS": leaf.url, "REMIT_EDGE_NATS_DOMAIN": "hub"}
    with estate(tmp_path_factory.mktemp("nats"), stale="20s", at_edge=at_edge, REMIT_NATS=hub.url) as made:
        yield made


@pytest.fixture
def bot(world):
    found = world.agent()
    found.http = httpx.Client(trust_env=False, timeout=20)
    yield found
    found.http.close()
    world.link.heal()


def by(world, way, seconds=10.0):
    eventually(lambda: world.edge.status()["frames_by"], lambda found: found == way, seconds)


def refused(world, bot, *, alone):
    """End a task at the centre; how long until its edge decides it no more, with HTTPS between them dead if `alone`."""
    beside = world.at_edge(bot)
    task, token = bot.task()
    assert beside.call(task, token)["decision"] == "permit"
    before = world.edge.status()["held"]
    if alone:
        world.link.blackhole()  # no stream, no beat, no pull
    acknowledged = world.revoke(task)
    said = eventually(world.edge.status, lambda said: said["held"] < before, 5)
    took = time.monotonic() - acknowledged
    assert said["frames_by"] == ("nats" if alone else "centre")
    world.link.heal()
    assert beside.call(task, token)["why"][0]["code"] == "task_not_open"
    return took


def unpublished(world):
    with world.centre.http("operator") as http:
        return float(re.search(r"^remit_frames_unpublished (\S+)$", http.get("/metrics").text, re.M)[1])


def test_a_revoke_arrives_over_nats_alone_through_a_leaf_and_by_the_centre_when_nats_is_gone(world, nats, bot):
    hub, _ = nats
    by(world, "nats")
    assert refused(world, bot, alone=True) < 1.0
    hub.stop()  # the leaf is still there
    by(world, "centre")
    assert refused(world, bot, alone=False) < 1.5
    assert unpublished(world) == 1
    hub.start()
    by(world, "nats")
    assert unpublished(world) == 0
    assert refused(world, bot, alone=True) < 3.0  # the centre looks for NATS every half second
    world.edge.fresh()


# --- in one process, where nothing but NATS is between the two: no stream, and no beat and no pull that nobody calls ---

STREAM, SUBJECT = stream_of("remit.local")


@pytest.fixture(scope="module")
def server():
    with nats_server(HUB, leafs=free_port()) as found:
        yield found


@asynccontextmanager
async def running(work):
    """The pass, again and again as `EdgeWork` runs it, but for the pauses."""

    async def again():
        while True:
            try:
                await work.carried()
            except Unavailable as refused:
                heard.append(refused)
                await asyncio.sleep(0.05)

    heard: list[Unavailable] = []
    task = asyncio.create_task(again())
    try:
        await until(lambda: work.status()["frames_by"] == "nats")
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(good, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not good():
            await asyncio.sleep(0.01)


def publisher(both, url, frames=None):
    env, log = both.centre.env, both.centre.log
    return Publish(env, log, frames or both.centre.frames, NatsStream(Nats(url), "remit.local"))


@asynccontextmanager
async def publishing(*publishers):
    """All of them believe that the turn is theirs."""

    async def again(one):
        while True:
            await one.once()
            await asyncio.sleep(0)

    for one in publishers:
        await one.once()
    tasks = [asyncio.create_task(again(one)) for one in publishers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in publishers:
            await one.close()


async def emptied(url):
    """A connection of whoever may do everything, and no stream."""
    found = await client.connect(url)
    with suppress(client.js.errors.NotFoundError):
        await found.jetstream().delete_stream(STREAM)
    return found


def test_two_that_think_it_is_their_turn_lose_nothing_and_put_nothing_there_twice(centre, server):
    async def test(both):
        mallory = await emptied(server.url)
        second = Frames(both.centre.env, both.centre.log)
        start = await both.centre.frames.length()
        async with publishing(publisher(both, server.url), publisher(both, server.url, second)):
            for number in range(12):
                await freeze(both.centre.env, both.call(), Reach.AGENT, "other", "look")
                await asyncio.sleep(0.01 * (number % 3))
                await unfreeze(both.centre.env, both.call(), Reach.AGENT, "other", "fine")
            end = await both.centre.frames.length()
            js = mallory.jetstream()

            async def stretches():
                size = (await js.stream_info(STREAM)).state.last_seq
                found = [json.loads((await js.get_msg(STREAM, seq=n + 1)).data) for n in range(size)]
                keys = follow(both)._keys
                said = [
                    statements.parse(statements.Signed(**one), Said.FRAME, issuer=both.centre.url, keys=keys)
                    for one in found
                ]
                return [(one.since, one.size) for one in said]

            async with asyncio.timeout(5):
                while not (told := await stretches()) or told[-1][1] < end:
                    await asyncio.sleep(0.05)
        assert told[0][0] <= start
        assert all(after[0] <= before[1] < after[1] for before, after in pairwise(told)), told
        await freeze(both.centre.env, both.call(), Reach.AGENT, "other", "look")
        await unfreeze(both.centre.env, both.call(), Reach.AGENT, "other", "fine")
        third = publisher(both, server.url)  # another has the turn now: it goes on where the stream ends
        async with publishing(third):
            end = await both.centre.frames.length()
            async with asyncio.timeout(5):
                while (told := await stretches())[-1][1] < end:
                    await asyncio.sleep(0.05)
        assert all(after[0] <= before[1] < after[1] for before, after in pairwise(told)), told
        await mallory.close()

    centre.run(test)


def test_what_a_hostile_publisher_says_moves_nothing_and_hides_nothing(centre, server):
    async def test(both):
        mallory = await emptied(server.url)
        js = mallory.jetstream()
        task = await both.task()
        await both.decide(task)
        async with publishing(publisher(both, server.url)), running(both.work):
            before = follow(both).size
            lie = Statement(Said.FRAME, before, before + 5_000, 0, {"ended": [[task.id, "revoked"]]})
            good = true(both, lie)
            old = msgspec.json.encode((await both.centre.frames.pages(0))[0].signed)
            lies = (
                b"",
                b"{",
                b"null",
                b'{"statement":"x"}',
                b'{"statement":1,"body":{}}',
                b'{"statement":"' + b"\\ud800" + b'","body":""}',
                b"[" * 100_000,
                b"x" * 900_000,
                *map(
                    msgspec.json.encode,
                    (
                        forged(both, lie),
                        forged(both, lie, kid="other"),
                        true(both, lie, issuer="https://other.example"),
                        statements.Signed(good.statement, good.body.replace("revoked", "closed")),
                        true(both, Statement(Said.BEAT, before, before + 5_000, 0, lie.body)),
                        true(both, Statement(Said.FRAME, before, before + 5_000, 0, lie.body, "east", "n")),
                    ),
                ),
            )
            for one in lies:
                await js.publish(SUBJECT, one)
            for _ in range(3):
                await js.publish(SUBJECT, old)
            await until(lambda: both.work.status()["dropped_messages"] == len(lies))
            assert (await both.decide(task))["decision"] == "permit"
            assert follow(both).size < before + 5_000
            assert both.work.status()["frames_by"] == "nats"
            await ended(both, task)
            size = await both.centre.frames.length()
            await until(lambda: follow(both).size >= size)
            assert (await both.here(task)).state is TaskState.REVOKED
        await mallory.close()

    centre.run(test, bus=NatsBus(Nats(server.url)))


def test_frames_out_of_order_are_no_harm_and_what_is_missing_is_asked_for(centre, server):
    async def test(both):
        mallory = await emptied(server.url)
        js = mallory.jetstream()
        await js.add_stream(name=STREAM, subjects=[SUBJECT])
        start, wires = follow(both).size, []
        since = start
        for reach, name in ((Reach.AGENT, "other"), (Reach.PURPOSE, "part"), (Reach.AGENT, "bot")):
            await freeze(both.centre.env, both.call(), reach, name, "look")
            await both.log_caught_up()
            found = await both.centre.frames.pages(since)
            since, wires = found[-1].size, [*wires, *(frame.wire for frame in found)]
        async with running(both.work):
            both.work._behind.clear()
            for wire in (wires[2], wires[1]):
                await js.publish(SUBJECT, wire)
            await until(both.work._behind.is_set)
            assert follow(both).size == start
            for wire in reversed(wires):
                await js.publish(SUBJECT, wire)
            await until(lambda: follow(both).size > start)
            await both.work.pull()
            assert len((await both.edge.env.frozen()).freezes) == 3
        for reach, name in ((Reach.AGENT, "other"), (Reach.PURPOSE, "part"), (Reach.AGENT, "bot")):
            await unfreeze(both.centre.env, both.call(), reach, name, "fine")
        await mallory.close()

    centre.run(test, bus=NatsBus(Nats(server.url)))


def test_a_flood_of_what_is_not_signed_is_left_for_a_moment(centre, server):
    async def test(both):
        mallory = await emptied(server.url)
        js = mallory.jetstream()
        await js.add_stream(name=STREAM, subjects=[SUBJECT])
        async with running(both.work) as heard:
            for _ in range(100):
                await mallory.publish(SUBJECT, b"{}")
            await mallory.flush()
            await until(lambda: heard)
            assert both.work.status()["dropped_messages"] <= 2 * 64
        await mallory.close()

    centre.run(test, bus=NatsBus(Nats(server.url)))


def test_the_centre_is_not_made_silent_by_what_somebody_puts_at_the_end_or_a_name_taken_before(centre, server):
    async def test(both):
        mallory = await emptied(server.url)
        js = mallory.jetstream()
        await js.add_stream(name=STREAM, subjects=[SUBJECT])
        size = await both.centre.frames.length()
        ahead = Statement(Said.FRAME, size, 2**50, 0, {})
        await js.publish(SUBJECT, msgspec.json.encode(forged(both, ahead)))
        names = [f"{since}-{end}" for since in range(size, size + 12) for end in range(since + 1, since + 13)]
        for name in names:
            await mallory.publish(SUBJECT, b"{}", headers={"Nats-Msg-Id": name})
        async with publishing(publisher(both, server.url)):
            task = await both.task()
            end = await both.centre.frames.length()

            async def told():
                last = (await js.stream_info(STREAM)).state.last_seq
                wire = (await js.get_msg(STREAM, seq=last)).data
                try:
                    keys = follow(both)._keys
                    return statements.parse(statements.read(wire), Said.FRAME, issuer=both.centre.url, keys=keys).size
                except Exception:
                    return -1

            async with asyncio.timeout(5):
                while await told() < end:
                    await asyncio.sleep(0.05)
        await ended(both, task)
        await mallory.close()

    centre.run(test)


async def told_of(js, task):
    """A message of the stream tells that this task has ended."""
    async with asyncio.timeout(5):
        while True:
            last = (await js.stream_info(STREAM)).state.last_seq
            found = [statements.read((await js.get_msg(STREAM, seq=n + 1)).data) for n in range(last)]
            if any(f'["{task.id}","' in one.body for one in found):
                return
            await asyncio.sleep(0.02)


def test_what_somebody_puts_between_two_frames_takes_neither_away(centre, server):
    async def test(both):
        mallory = await emptied(server.url)
        js = mallory.jetstream()
        mine = publisher(both, server.url)
        task = await both.task()
        await both.decide(task)
        start = await both.centre.frames.length()
        await mine.once()
        await ended(both, task)
        size = await both.centre.frames.length()
        for end in (size, 2**50):
            lie = forged(both, Statement(Said.FRAME, start, end, 0, {}))
            await js.publish(SUBJECT, msgspec.json.encode(lie))
        async with publishing(mine):
            await told_of(js, task)
        await mallory.close()

    centre.run(test)


def test_what_was_pushed_while_it_did_not_listen_is_made_up_for(centre, server):
    async def test(both):
        mallory = await emptied(server.url)
        js = mallory.jetstream()
        mine = publisher(both, server.url)
        first, second = await both.task(), await both.task()
        await both.decide(first)
        await both.decide(second)
        await mine.once()
        await ended(both, first)
        size = await both.centre.frames.length()
        while (await mine._queue.get()).size < size:
            pass
        await ended(both, second)
        async with publishing(mine):
            await told_of(js, second)
            await told_of(js, first)
        await mallory.close()

    centre.run(test)


def test_a_stream_that_is_ahead_of_a_log_that_was_put_back_is_gone_on_with(centre, server):
    async def test(both):
        mallory = await emptied(server.url)
        js = mallory.jetstream()
        await js.add_stream(name=STREAM, subjects=[SUBJECT])
        task = await both.task()
        await both.decide(task)
        ahead = true(both, Statement(Said.FRAME, 2**49, 2**50, 0, {}))
        await js.publish(SUBJECT, msgspec.json.encode(ahead))
        async with publishing(publisher(both, server.url)):
            await ended(both, task)
            await told_of(js, task)
        await mallory.close()

    centre.run(test)


def test_whoever_is_told_to_stop_stops(server):
    async def edge():
        async with NatsBus(Nats(server.url)).subscribed("remit.local") as messages:
            async for _ in messages:
                pass

    async def centre():
        stream = NatsStream(Nats(server.url), "remit.local")
        after, _ = await stream.last()
        while True:
            after = await stream.put(b"{}", f"0-{after}", after)

    async def go():
        mallory = await emptied(server.url)
        await mallory.jetstream().add_stream(name=STREAM, subjects=[SUBJECT])
        for what in (edge, centre):
            for number in range(30):
                task = asyncio.create_task(what())
                await asyncio.sleep(0.0007 * number)
                task.cancel()
                done, _ = await asyncio.wait([task], timeout=2)
                assert done and task.cancelled(), (what.__name__, number)
        await mallory.close()

    asyncio.run(go())


def test_with_credentials_that_may_do_only_what_is_documented(tmp_path):
    """An edge may listen and not publish; the centre may publish and make the stream."""
    with nats_house() as house:
        api = [f"$JS.API.STREAM.{what}.{STREAM}" for what in ("INFO", "CREATE", "MSG.GET")]
        may = {
            "centre": ([SUBJECT, *api], ["_INBOX.>"]),
            "edge": (
                [f"$JS.API.CONSUMER.CREATE.{STREAM}.>", f"$JS.API.CONSUMER.CREATE.{STREAM}", "$JS.FC.>"],
                ["_INBOX.>"],
            ),
        }
        for name, (pub, sub) in may.items():
            key = NKey("U")
            said = {"type": "user", "pub": {"allow": pub}, "sub": {"allow": sub}, "subs": -1, "data": -1, "payload": -1}
            (tmp_path / name).write_text(creds_of(signed(house.account, key.public, name, said), key))

        async def go():
            stream = NatsStream(Nats(house.url, str(tmp_path / "centre")), "remit.local")
            after, wire = await stream.last()
            assert (after, wire) == (0, b"")
            assert await stream.put(b"{}", "0-1", after) == 1
            async with NatsBus(Nats(house.url, str(tmp_path / "edge"))).subscribed("remit.local") as messages:
                assert await anext(messages) == b"{}"
                assert await stream.put(b"[]", "1-2", 1) == 2
                assert await anext(messages) == b"[]"
            thief = await connect(house, (tmp_path / "edge").read_text())
            with pytest.raises(client.errors.Error):
                await thief.jetstream(timeout=0.3).publish(SUBJECT, b"lie")
            await thief.close()
            assert (await stream.last())[0] == 2
            await stream.close()

        asyncio.run(go())


@pytest.mark.soak
def test_real_replicas_of_which_the_one_that_publishes_is_paused_and_wakes_up(postgres, server, tmp_path):
    with replicas(postgres, tmp_path) as two:
        for _ in range(2):
            two.start("--nats", server.url, "--trust-domain", "soak.example")
        two.furnish()

        def events(at, seconds):
            until = time.monotonic() + seconds
            with at.http("operator") as http:
                while time.monotonic() < until:
                    assert http.post("/v1/freezes", json={"reach": "agent", "name": "bot", "reason": "x"}).is_success
                    assert http.post(
                        "/v1/freezes/end", json={"reach": "agent", "name": "bot", "reason": "y"}
                    ).is_success

        holder = eventually(two.holder, bool)
        (other,) = two.others(holder)
        events(other, 1)
        holder.child.send_signal(signal.SIGSTOP)
        try:
            events(other, 5)
        finally:
            holder.child.send_signal(signal.SIGCONT)
        events(holder, 1)
        assert two.holder() is other

        async def stretches():
            name, _ = stream_of("soak.example")
            found = await client.connect(server.url)
            js, told = found.jetstream(), []
            for n in range((await js.stream_info(name)).state.last_seq):
                claims = json.loads((await js.get_msg(name, seq=n + 1)).data)["statement"].split(".")[1]
                said = json.loads(base64url.decode(claims))
                told.append((said["since"], said["size"]))
            await found.close()
            return told

        def size():
            with other.http("operator") as http:
                return http.get("/v1/log").json()["size"]

        told = eventually(lambda: asyncio.run(stretches()), lambda told: told[-1][1] >= size())
        assert len(told) > 20
        assert all(after[0] <= before[1] < after[1] for before, after in pairwise(told)), told


@pytest.mark.parametrize(
    "text", ["", "http://x:1", "nats://", "nats://a:b@far.example:4222", "nats://ok:4222,ftp://x", "nats://x:99999999"]
)
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(BadField):
        servers(text)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(over_nats, "find_spec", lambda _: None)
    with pytest.raises(BadField) as refused:
        servers("nats://x:4222")
    assert "remit[nats]" in refused.value.next_step
