"""What a task's NATS user must not be able to do, and kills in bad moments."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nats.errors
import nats.js.api
import nkeys
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain.errors import BadField, WrongState

from .nats_house import Key, b64, claims_of, connect, creds_of, house
from .rigs import lease
from .rigs.nats import WORK, issuer, works
from .servers import free_port

REFUSED = (nats.errors.Error, OSError, TimeoutError)


def on(house, test, **how):
    async def main():
        made = issuer(house, **how)
        try:
            await test(made)
        finally:
            await made.close()

    asyncio.run(main())


async def may(client, act, subject, **how):
    """Whether the server lets it: it says so, in order, before it answers a ping."""
    errors = client.errors = []
    if act == "publish":
        await client.publish(subject, b"x", **how)
    else:
        await client.subscribe(subject, **how)
    for _ in range(3):  # the client's own first ping may take an answer that was ours
        await client.flush(5)
    return not errors


async def task(house, minted, **how):
    """A client that says what it was refused."""

    async def tell(error):
        client.errors.append(str(error))

    client = await connect(house, minted.parts["creds"], error_cb=tell, **how)
    client.errors = []
    client._skip_subject_validation = True  # what a hostile client would not look at
    return client


def jwt_of(minted):
    return minted.parts["creds"].splitlines()[1]


@pytest.mark.parametrize(
    ("act", "subject"),
    [
        ("publish", "orders.acme.1"), ("publish", "orders.acme.1.2"), ("publish", "notes.acme"), ("publish", "line.acme.1"),
        ("subscribe", "events.acme.1"), ("subscribe", "events.acme.>"), ("subscribe", "events.acme.*"), ("subscribe", "_INBOX_remit_least.x"),
        ("subscribe", "_INBOX_remit_least.>"),
    ],
)  # fmt: skip
def test_what_was_granted_works(nats_house, act, subject):
    async def test(made):
        client = await task(nats_house, await made.mint(lease("remit_least", GRANTS)))
        assert await may(client, act, subject)
        await client.close()

    on(nats_house, test)


GRANTS = {
    "publish": [{"under": ["orders", "acme"]}, {"exact": ["notes", "acme"]}, {"each": ["line", "acme"]}],
    "subscribe": [{"under": ["events", "acme"]}],
    "inbox": True,
}


@pytest.mark.parametrize(
    ("act", "subject"),
    [(act, subject) for act, subjects in {
        "publish": ("orders.acme", "orders.acmex.1", "orders.globex.1", "orders", "notes.acme.x", "notes", "line.acme", "line.acme.1.2",
                    "events.acme.1", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.X.CLAIMS.UPDATE", "$JS.API.INFO", "$JS.API.STREAM.CREATE.X",
                    "$JS.ACK.X", "$JSC.R.x", "_INBOX.x.y", "_INBOX_remit_other.x", "_INBOX_remit_least.x", "_R_.x", "$NRG.V.x", "ORDERS.acme.1",
                    "orders.*.1", "orders.>", ">", "*"),
        "subscribe": (">", "*", "*.>", "*.*.*", "events.>", "events.*", "events.*.1", "*.acme.1", "events.acme", "events.acmex.1",
                      "events.globex.>", "orders.acme.1", "notes.acme", "$SYS.>", "$SYS.ACCOUNT.>", "$JS.API.>", "$JS.EVENT.>", "_INBOX.>",
                      "_INBOX_remit_other.>", "_INBOX_remit_least", "_INBOX_*.>", "_INBOX_remit_leas.>", "_R_.>", "_GR_.>", "$KV.>", "$O.>"),
    }.items() for subject in subjects],
)  # fmt: skip
def test_and_nothing_else(nats_house, act, subject):
    async def test(made):
        client = await task(nats_house, await made.mint(lease("remit_least", GRANTS)))
        boss = await connect(nats_house, nats_house.everything())
        heard = []

        async def hear(message):
            heard.append(message.subject)

        await boss.subscribe(">", cb=hear)
        await boss.flush()
        assert not await may(client, act, subject)
        assert any("ermissions" in said for said in client.errors)
        if act == "subscribe" and subject in ("events.acme", "orders.acme.1", "notes.acme", "events.acmex.1"):
            await boss.publish(subject, b"not for them")
            await client.flush()
        await boss.flush()
        assert not [found for found in heard if found != subject or act == "publish"]
        await client.close()
        await boss.close()

    on(nats_house, test)


def test_no_list_is_nothing_and_not_everything(nats_house):
    """An empty allow-list allows everything in NATS."""

    async def test(made):
        writer = await task(nats_house, await made.mint(lease("remit_writer", {"publish": [{"exact": ["a"]}]})))
        assert await may(writer, "publish", "a")
        for subject in ("a", "b", ">", "_INBOX.x", "_INBOX_remit_writer.x"):
            assert not await may(writer, "subscribe", subject)
        reader = await task(nats_house, await made.mint(lease("remit_reader", {"subscribe": [{"exact": ["a"]}]})))
        assert await may(reader, "subscribe", "a")
        for subject in ("a", "b", "_INBOX.x", "$SYS.REQ.USER.INFO"):
            assert not await may(reader, "publish", subject)
        await writer.close()
        await reader.close()

    on(nats_house, test)


def test_answers_come_to_an_inbox_of_its_own(nats_house):
    async def test(made):
        boss = await connect(nats_house, nats_house.everything())

        async def answer(message):
            await message.respond(b"42")

        await boss.subscribe("orders.>", cb=answer)
        await boss.flush()
        minted, other = [await made.mint(lease(name, WORK)) for name in ("remit_asks", "remit_other")]
        asks = await task(nats_house, minted, inbox_prefix=minted.parts["inbox_prefix"])
        spies = await task(nats_house, other, inbox_prefix=other.parts["inbox_prefix"])
        assert not await may(spies, "subscribe", minted.parts["inbox_prefix"] + ".>")
        assert (await asks.request("orders.acme.1", b"?", timeout=5)).data == b"42"
        for client in (boss, asks, spies):
            await client.close()

    on(nats_house, test)


def test_it_may_answer_only_what_it_was_asked_and_as_often_as_was_granted(nats_house):
    async def test(made):
        grants = {"subscribe": [{"under": ["events", "acme"]}], "responses": 2, "within": 1}
        boss = await connect(nats_house, nats_house.everything())
        for granted in (grants, {"subscribe": grants["subscribe"]}):
            client = await task(nats_house, await made.mint(lease("remit_answers", granted)))
            heard = await client.subscribe("events.acme.>")
            await client.flush()
            assert not await may(client, "publish", "_INBOX.boss")
            inbox = await boss.subscribe("_INBOX.boss")
            await boss.publish("events.acme.1", b"?", reply="_INBOX.boss")
            await heard.next_msg(5)
            answers = [await may(client, "publish", "_INBOX.boss") for _ in range(3)]
            assert answers == ([True, True, False] if "responses" in granted else [False] * 3)
            if "responses" in granted:
                await boss.publish("events.acme.1", b"?", reply="_INBOX.late")
                await heard.next_msg(5)
                await asyncio.sleep(1.2)
                assert not await may(client, "publish", "_INBOX.late")
            await inbox.unsubscribe()
            await client.close()
        await boss.close()

    on(nats_house, test)


def test_a_queue_is_only_that_queue(nats_house):
    async def test(made):
        grants = {"subscribe": [{"exact": ["jobs"], "queue": "workers"}]}
        client = await task(nats_house, await made.mint(lease("remit_works", grants)))
        assert await may(client, "subscribe", "jobs", queue="workers")
        for how in ({}, {"queue": "others"}, {"queue": "*"}, {"queue": ">"}):
            assert not await may(client, "subscribe", "jobs", **how)
        await client.close()

    on(nats_house, test)


def test_limits_are_the_servers(nats_house):
    async def test(made):
        grants = {**GRANTS, "subscriptions": 2, "payload": 100}
        client = await task(nats_house, await made.mint(lease("remit_small", grants)))
        assert [await may(client, "subscribe", f"events.acme.{n}") for n in range(2)] == [True, True]
        with pytest.raises(REFUSED):
            assert not await may(client, "subscribe", "events.acme.2") and not client.is_connected
            raise nats.errors.Error
        client = await task(nats_house, await made.mint(lease("remit_small", grants)))
        with pytest.raises(REFUSED):
            await client.publish("orders.acme.1", b"x" * 101)
            for _ in range(3):
                await client.flush(2)
        for source, there in (["10.0.0.0/8"], False), (["10.0.0.0/8", "127.0.0.0/8"], True), (["127.0.0.1"], True):
            minted = await made.mint(lease("remit_here", {**WORK, "source_address": source}))
            assert await works(nats_house, minted) is there

    on(nats_house, test)


@pytest.mark.parametrize(
    "value",
    ["a.b", "*", ">", "a>", "a*", "a b", "a\nb", "a\tb", "a\rb", "\x00", "", "a" * 129, "\u2028", "\u00a0", "\u200b"],
)
def test_what_a_parameter_holds_is_one_part(nats_house, value):
    async def test(made):
        for form in ("exact", "each", "under"):
            for act in ("publish", "subscribe"):
                with pytest.raises(BadField):
                    await made.mint(lease("remit_part", {act: [{form: ["orders", value]}]}))
        with pytest.raises(BadField):
            await made.mint(lease("remit_part", {"subscribe": [{"exact": ["a"], "queue": value or " "}]}))

    on(nats_house, test)


def test_the_first_part_cannot_become_the_servers_own(nats_house):
    async def test(made):
        for value in ("$SYS", "$JS", "$KV", "_INBOX", "_R_", "$", "_"):
            with pytest.raises(BadField):
                await made.mint(lease("remit_first", {"publish": [{"under": [value]}]}))
        for hole in (
            {"publish": [{"under": ["orders", "{customer}"]}]},
            {"subscribe": [{"exact": ["a"], "queue": "{team}"}]},
        ):
            with pytest.raises(WrongState, match="parameter"):
                await made.mint(lease("remit_hole", hole))
        client = await task(
            nats_house, await made.mint(lease("remit_odd", {"publish": [{"under": ["orders", "客户-é;$SYS'\""]}]}))
        )
        assert await may(client, "publish", "orders.客户-é;$SYS'\".1")
        assert not await may(client, "publish", "orders.客户.1")
        await client.close()

    on(nats_house, test)


parts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(parts, parts)
@settings(max_examples=60, deadline=None)
def test_a_part_is_only_itself(nats_house, part, other):
    async def test(made):
        try:
            minted = await made.mint(lease("remit_text", {"publish": [{"under": ["orders", part]}]}))
        except BadField:
            return
        client = await task(nats_house, minted)
        assert await may(client, "publish", f"orders.{part}.x")
        for text in (f"orders.{part}{other}.x", f"orders.{other}.x", f"orders.{part}", f"orders.{part[1:]}.x"):
            if not text.startswith(f"orders.{part}.") and not set(text) & set(" \t\r\n\0\f\v"):
                assert not await may(client, "publish", text)
        await client.close()

    on(nats_house, test)


# --- forged, stolen, kept ---


def test_a_jwt_that_was_changed_or_made_by_its_holder_is_refused(nats_house):
    async def test(made):
        minted = await made.mint(lease("remit_forge", WORK))
        seed = next(line for line in minted.parts["creds"].splitlines() if line.startswith("SU"))
        key = Key("U")
        key.seed, key.pair = seed, nkeys.from_seed(bytearray(seed.encode()))
        key.public = key.pair.public_key.decode()
        head, _, signature = jwt_of(minted).split(".")

        def wider(**more):
            claims = claims_of(jwt_of(minted))
            claims["nats"] |= {"pub": {}, "sub": {}}
            return b64(json.dumps({**claims, **more}).encode())

        said = f"{head}.{wider(iss=key.public)}"
        none = b64(json.dumps({"typ": "JWT", "alg": "none"}).encode())
        forged = [
            f"{head}.{wider()}.{signature}",
            f"{said}.{b64(key.pair.sign(said.encode()))}",
            f"{none}.{wider()}.",
            f"{head}.{wider(exp=0)}.{signature}",
        ]
        for token in forged:
            with pytest.raises(REFUSED):
                await connect(nats_house, creds_of(token, key))
        with pytest.raises(REFUSED):  # the JWT without the key that it names
            await connect(nats_house, creds_of(jwt_of(minted), Key("U")))
        assert await works(nats_house, minted)

    on(nats_house, test)


def test_an_open_connection_ends_with_the_kill_and_what_was_stolen_is_worth_nothing(nats_house):
    async def test(made):
        wanted = lease("remit_stolen", WORK)
        minted = await made.mint(wanted)
        clients = [await connect(nats_house, minted.parts["creds"]) for _ in range(5)]
        heard = [await client.subscribe("events.acme.>") for client in clients]
        for client in clients:
            await client.flush()
        await made.kill(wanted.known_as(minted.reference))
        boss = await connect(nats_house, nats_house.everything())
        await boss.publish("events.acme.1", b"not for them")
        await boss.flush()
        await asyncio.sleep(0.1)
        assert not any(client.is_connected for client in clients) and not any(one.pending_msgs for one in heard)
        for _ in range(3):
            assert not await works(nats_house, minted)
        await boss.close()

    on(nats_house, test)


def test_whoever_connects_while_it_is_killed_is_not_left_connected(nats_house):
    async def test(made):
        boss = await connect(nats_house, nats_house.root())
        for turn in range(5):
            wanted = lease(f"remit_storm{turn}", WORK)
            minted, inside, over = await made.mint(wanted), [], asyncio.Event()

            async def storm(minted=minted, inside=inside, over=over):
                while not over.is_set():
                    try:
                        inside.append(await connect(nats_house, minted.parts["creds"], flush_timeout=1))
                    except REFUSED:
                        await asyncio.sleep(0)

            storms = [asyncio.create_task(storm()) for _ in range(4)]
            await asyncio.sleep(0.05 + 0.01 * turn)
            await made.kill(wanted)
            over.set()
            await asyncio.gather(*storms)
            listed = json.dumps({"auth": True, "user": minted.reference, "acc": nats_house.account.public}).encode()
            found = json.loads((await boss.request("$SYS.REQ.SERVER.PING.CONNZ", listed, timeout=5)).data)
            assert inside and found["data"]["num_connections"] == 0
            for client in inside:
                await client.close()
        await boss.close()

    on(nats_house, test)


def test_an_open_connection_ends_at_its_end_when_nobody_kills(nats_house):
    async def test(made):
        wanted = lease("remit_brief", WORK, seconds=3.9)
        minted = await made.mint(wanted)
        client = await connect(nats_house, minted.parts["creds"])
        heard = await client.subscribe("events.acme.>")
        await client.flush()
        await asyncio.sleep(wanted.expires_at / 1000 - time.time())
        assert not client.is_connected and heard is not None
        assert not await works(nats_house, minted)

    on(nats_house, test)


def test_a_kill_before_the_mint_lands_and_a_mint_that_is_late(nats_house):
    async def test(made):
        wanted = lease("remit_early", WORK)
        await made.kill(wanted)  # nothing was ever confirmed
        assert not await works(nats_house, await made.mint(wanted))  # it came all the same
        for late in (lease("remit_late", WORK, window=0), lease("remit_late", WORK, seconds=0.0)):
            with pytest.raises(WrongState, match="too late"):
                await made.mint(late)

    on(nats_house, test)


def test_a_mint_that_stood_still_beyond_its_window_hands_nothing_over(nats_house):
    times = iter([0, 10**15])

    async def test(made):
        with pytest.raises(WrongState, match="too late"):
            await made.mint(lease("remit_still", WORK))

    on(nats_house, test, clock=lambda: next(times))


def test_a_task_cannot_bring_a_server_of_its_own():
    """A leaf node is a server; with a task's credentials it would act for many clients."""
    leaf_port = free_port()
    with house(more=f"leafnodes {{ host: 127.0.0.1, port: {leaf_port} }}") as made_of:
        folder = Path(tempfile.mkdtemp(prefix="remit-leaf-"))

        async def test(made):
            leafs = {
                "remit_leaf": (await made.mint(lease("remit_leaf", WORK))).parts["creds"],
                "boss": made_of.everything(),
            }
            for name, creds in leafs.items():  # the standing one shows that it could be done
                (folder / "creds").write_text(creds)
                (folder / "conf").write_text(
                    f"host: 127.0.0.1\nport: {free_port()}\nleafnodes {{ remotes: [{{ url: 'nats-leaf://127.0.0.1:{leaf_port}', "
                    f"credentials: '{folder}/creds' }}] }}\n"
                )
                found = shutil.which("nats-server") or str(next(Path(sys.executable).parent.glob("nats-server")))
                log = folder / f"{name}.log"
                with log.open("w") as said:
                    leaf = subprocess.Popen([found, "-c", str(folder / "conf")], stderr=said)
                try:
                    for _ in range(50):
                        await asyncio.sleep(0.1)
                        if (
                            "Authorization Violation" in log.read_text()
                            or "Leafnode connection created" in log.read_text()
                        ):
                            break
                    await asyncio.sleep(0.3)
                    assert ("Authorization Violation" in log.read_text()) is (name == "remit_leaf")
                finally:
                    leaf.kill()
                    leaf.wait()

        on(made_of, test)
        shutil.rmtree(folder)


def test_no_secret_is_readable(nats_house):
    async def test(made):
        wanted = lease("remit_canary", WORK)
        minted = await made.mint(wanted)
        await works(nats_house, minted)
        await made.kill(wanted)
        environ = nats_house.environ()
        seeds = [line for line in minted.parts["creds"].splitlines() if line.startswith("SU")]
        seeds += [
            environ["SIGNING"],
            environ["OPERATOR"],
            *(line for line in environ["SYSTEM"].splitlines() if line.startswith("SU")),
        ]
        shown = f"{made!r} {vars(made)!r} {minted!r} {minted.reference} {made._signer()!r} {vars(made._revocations)!r}"
        shown += (
            f"{vars(made._revocations._there)!r}{made._revocations._system!r}" + nats_house.servers[0].log.read_text()
        )
        assert len(seeds) == 4
        assert not any(seed in shown for seed in seeds)

    on(nats_house, test)


def test_a_handle_that_is_not_ours_is_refused(nats_house):
    async def test(made):
        for handle in ("boss", "remit_x.>", "remit_", "REMIT_X", "remit_x\n", "remit_*"):
            for act in (made.mint, made.kill):
                with pytest.raises(WrongState):
                    await act(lease(handle, WORK))

    on(nats_house, test)


def test_what_a_raw_client_writes_does_not_get_around_the_lists(nats_house):
    """No client library between: tabs, two spaces, lower case, header lines, a subject with a line break."""

    async def test(made):
        minted = await made.mint(lease("remit_raw", GRANTS))
        seed = next(line for line in minted.parts["creds"].splitlines() if line.startswith("SU"))
        pair = nkeys.from_seed(bytearray(seed.encode()))
        boss = await connect(nats_house, nats_house.everything())
        heard = await boss.subscribe(">")
        await boss.flush()

        def attempt():
            with socket.create_connection(("127.0.0.1", nats_house.servers[0].port), 5) as raw:
                file = raw.makefile("rb")
                nonce = json.loads(file.readline()[5:])["nonce"]
                shown = {
                    "jwt": jwt_of(minted),
                    "sig": b64(pair.sign(nonce.encode())),
                    "verbose": False,
                    "headers": True,
                }
                lines = b"".join([
                    b"PUB other 1\r\nx\r\n", b"pub\tother\t1\r\nx\r\n", b"PUB  other  1\r\nx\r\n",
                    b"HPUB other 12 13\r\nNATS/1.0\r\n\r\nx\r\n", b"PUB orders.acme.1 reply 1\r\nx\r\n", b"SUB > 1\r\n", b"sub  > q 2\r\n",
                ])  # fmt: skip
                raw.sendall(b"CONNECT " + json.dumps(shown).encode() + b"\r\n" + lines + b"PING\r\n")
                raw.settimeout(5)
                said = b""
                while b"PONG" not in said:
                    said += raw.recv(4096)
                return said

        said = await asyncio.to_thread(attempt)
        assert said.count(b"Permissions Violation") == 6
        await boss.flush()
        assert heard.pending_msgs == 1 and (await heard.next_msg(1)).subject == "orders.acme.1"
        await boss.close()

    on(nats_house, test)


def test_streams_are_written_and_pushed_from_but_not_ruled(nats_house):
    async def test(made):
        boss = await connect(nats_house, nats_house.everything())
        js = boss.jetstream()
        await js.add_stream(name="orders", subjects=["orders.acme.>"])
        grants = {
            "publish": [{"under": ["orders", "acme"]}],
            "inbox": True,
            "responses": 1,
            "subscribe": [{"under": ["fed", "acme"]}],
        }
        minted = await made.mint(lease("remit_stream", grants))
        client = await task(nats_house, minted, inbox_prefix=minted.parts["inbox_prefix"])
        fed = await client.subscribe("fed.acme.in")
        await client.flush()
        assert (await client.jetstream().publish("orders.acme.1", b"kept", timeout=5)).stream == "orders"
        config = nats.js.api.ConsumerConfig(durable_name="fed", deliver_subject="fed.acme.in", ack_policy="explicit")
        await js.add_consumer("orders", config)
        message = await fed.next_msg(5)
        assert message.data == b"kept"
        await message.ack_sync(5)  # its one response; and the server's answer to it comes to the inbox
        assert (await js.consumer_info("orders", "fed")).num_ack_pending == 0
        for subject in (
            "$JS.API.STREAM.DELETE.orders",
            "$JS.API.STREAM.MSG.GET.orders",
            "$JS.API.CONSUMER.MSG.NEXT.orders.fed",
        ):
            assert not await may(client, "publish", subject)
        await js.delete_stream("orders")
        await client.close()
        await boss.close()

    on(nats_house, test)
