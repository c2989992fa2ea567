"""What goes wrong between at a Redis: users that were saved, admins of little right, other passwords, TLS, restarts."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import time

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.issuers import Tools, build
from remit.issuers.redis import _rules

from . import servers
from .certificates import certificate
from .rigs import lease
from .rigs.redis import READ, admin, connect, issuer
from .test_redis_attacks import on, users

LEAST = "on >least-password ~remit:mint:* +acl|setuser +acl|deluser +client|kill +set +get +del +watch +multi +exec"


def test_the_rights_that_the_admin_is_said_to_need_are_enough(redis_server):
    with admin(redis_server) as client:
        client.execute_command("ACL", "SETUSER", "least", "reset", *LEAST.split())

    async def main():
        made = issuer(redis_server.port, "least")
        minted = await made.mint(lease("remit_small", READ))
        with connect(minted) as client:
            assert client.set("cache:acme:1", "a")
        await made.kill(lease("remit_small", READ))
        await made.kill(lease("remit_small", READ))
        assert not users(redis_server)
        await made.close()

    asyncio.run(main())


def test_a_transaction_and_a_subscription_end_with_the_kill(redis_server):
    grants = {
        "commands": ["set", "get", "multi", "exec", "subscribe", "psubscribe"],
        "keys": [{"under": ["cache", "acme"]}],
        "channels": [{"exact": ["news", "acme"]}, {"under": ["live", "acme"]}],
    }

    async def test(made):
        wanted = lease("remit_busy", grants)
        minted = await made.mint(wanted)
        client, listener = connect(minted), connect(minted).pubsub()
        held = client.connection_pool.get_connection()
        for words in (("MULTI",), ("SET", "cache:acme:t", "late")):
            held.send_command(*words)
            held.read_response()
        listener.subscribe("news:acme", "live:acme:1")
        listener.psubscribe("live:acme:*")
        assert {listener.get_message(timeout=1)["type"] for _ in range(3)} == {"subscribe", "psubscribe"}
        await made.kill(wanted)
        with pytest.raises((redis.RedisError, OSError)):
            held.send_command("EXEC")
            held.read_response()
        with admin(redis_server) as other:
            assert other.get("cache:acme:t") is None
            assert other.publish("news:acme", "x") == 0 and other.publish("live:acme:1", "x") == 0

    on(redis_server, test)


def test_a_command_that_this_server_does_not_know_makes_no_half_of_a_user(redis_server):
    async def test(made):
        wanted = lease("remit_newer", {"commands": ["get", "pexpiretime"], "keys": [{"exact": ["a"]}]})
        with admin(redis_server) as client:
            newer = client.command_count() > 230
        if newer:
            await made.mint(wanted)
        else:
            with pytest.raises(IssuerUnavailable):
                await made.mint(wanted)
            assert not users(redis_server)
        await made.kill(wanted)

    on(redis_server, test)


def test_a_user_that_somebody_saved_does_not_come_back_after_its_kill():
    with servers.redis_server(acl_file=True) as server:

        async def main():
            made = issuer(server.port, acl_save=True)
            wanted = lease("remit_saved", READ)
            minted = await made.mint(wanted)
            with admin(server) as client:
                client.execute_command("ACL", "SAVE")
            server.stop()
            server.start()
            with connect(minted) as back:  # restarted with it: its lease is open, and its kill still to come
                assert back.set("cache:acme:1", "a")
            with contextlib.suppress(IssuerUnavailable):
                await made.kill(wanted)
            await made.kill(wanted)
            server.stop()
            server.start()
            assert not users(server)
            await made.close()

        asyncio.run(main())


def test_a_save_that_fails_leaves_the_kill_unconfirmed_and_the_user_out(redis_server):
    async def main():
        made = issuer(redis_server.port, acl_save=True)  # but there is no file
        await made.mint(lease("remit_unsaved", READ))
        with pytest.raises(IssuerUnavailable):
            await made.kill(lease("remit_unsaved", READ))
        assert not users(redis_server)
        await made.close()

    asyncio.run(main())


def test_a_mint_that_is_cancelled_leaves_nothing_for_long(redis_server):
    async def test(made):
        for turn in range(12):
            wanted = lease(f"remit_cut{turn}", READ)
            minting = asyncio.create_task(made.mint(wanted))
            await asyncio.sleep(turn * 0.0002)
            minting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await minting
            await made.kill(wanted)
        assert not users(redis_server)
        with admin(redis_server) as client:
            assert all(0 < client.pttl(key) <= 26_000 for key in client.keys("remit:mint:*"))

    on(redis_server, test)


def test_a_server_that_stands_still_is_unavailable_in_bounded_time():
    with servers.redis_server() as server:

        async def main():
            made = issuer(server.port)
            await made.mint(lease("remit_warm", READ))
            server.process.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            try:
                with pytest.raises(IssuerUnavailable):
                    await made.kill(lease("remit_warm", READ))
                assert time.monotonic() - begun < 12
            finally:
                server.process.send_signal(signal.SIGCONT)
            await made.kill(lease("remit_warm", READ))
            assert not users(server)
            await made.close()

        asyncio.run(main())


def test_the_admins_password_may_change_under_way(redis_server, tmp_path):
    file = tmp_path / "dsn"

    def say(password):
        file.write_text(f"redis://turning:{password}@127.0.0.1:{redis_server.port}\n")
        with admin(redis_server) as client:
            client.execute_command("ACL", "SETUSER", "turning", "reset", *LEAST.split(), f">{password}")
            client.execute_command("CLIENT", "KILL", "USER", "turning")

    async def main():
        say("first")
        made = build(IssuerConfig("r", "redis", {"dsn_file": str(file)}), Tools(None, None, None, "", {}))
        await made.mint(lease("remit_before", READ))
        say("second")
        await made.kill(lease("remit_before", READ))
        assert not users(redis_server)
        await made.close()

    asyncio.run(main())


@pytest.mark.parametrize("dsn", [
    "redis://u:canary@/0", "redis://u:canary@h/1", "redis://u:canary@h/x", "http://u:canary@h", "redis://u:canary@h:x",
    "redis://u:canary@h?socket_timeout=canary", "redis://u:canary@[::1", "rediss://u:canary@127.0.0.1:1?ssl_ca_certs=/no",
])  # fmt: skip
def test_an_address_that_cannot_be_used_is_not_repeated(dsn, run):
    made = build(IssuerConfig("r", "redis", {"dsn_env": "D"}), Tools(None, None, None, "", {"D": dsn}))
    with pytest.raises(IssuerUnavailable) as refused:
        run(made.mint(lease(grants=READ)))
    assert "canary" not in f"{refused.value} {refused.value.next_step} {refused.value.inside}"


def test_over_tls_the_server_is_verified_and_the_task_is_told_to_use_it(redis_server, tmp_path):
    """A TLS terminator before the server, as the wheel's Redis has no TLS of its own."""
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def relay(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", redis_server.port)

        async def copy(source, target):
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            target.close()

        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    async def main():
        front = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
        port = front.sockets[0].getsockname()[1]
        dsn = f"rediss://admin:admin-password@127.0.0.1:{port}/0"

        def made(query):
            return build(IssuerConfig("r", "redis", {"dsn_env": "D"}), Tools(None, None, None, "", {"D": dsn + query}))

        with pytest.raises(IssuerUnavailable):
            await made("").mint(lease("remit_tls", READ))
        trusting = made(f"?ssl_ca_certs={cert}")
        minted = await trusting.mint(lease("remit_tls", READ))
        assert minted.parts["url"].startswith("rediss://remit_tls:")

        def use():
            with redis.Redis.from_url(minted.parts["url"], ssl_ca_certs=str(cert)) as client:
                return client.set("cache:acme:1", "a")

        assert await asyncio.to_thread(use)
        await trusting.kill(lease("remit_tls", READ))
        assert not users(redis_server)
        await trusting.close()
        front.close()

    asyncio.run(main())


# --- text ---

parts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(parts, parts)
@settings(max_examples=150)
def test_a_part_is_only_itself(redis_server, part, other):
    """Whoever holds `part` reaches what is under `part`, and what is under anything else it does not."""
    try:
        rules = _rules({"commands": ["get"], "keys": [{"under": ["cache", part]}]})
    except BadField:
        return
    with admin(redis_server) as client:
        client.execute_command("ACL", "SETUSER", "remit_text", "reset", *rules, "on", ">text")
        with redis.Redis(port=redis_server.port, username="remit_text", password="text") as task:
            task.get(f"cache:{part}:x")
            for key in (
                f"cache:{other}:x",
                f"cache:{part}{other}:x",
                f"cache:{part}",
                f"cache:{part[1:]}:x",
                "cache::x",
            ):
                if not key.startswith(f"cache:{part}:"):
                    with pytest.raises(redis.exceptions.NoPermissionError):
                        task.get(key)
        client.execute_command("ACL", "DELUSER", "remit_text")


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["get", "set", "{customer}"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["exact", "under", "x"]), inner),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["commands", "keys", "channels", "other"]), json))
def test_whatever_is_written_is_rules_or_a_bad_field(written):
    with contextlib.suppress(BadField):
        assert all(isinstance(rule, str) for rule in _rules(written))


def test_a_handle_that_is_not_ours_is_refused(redis_server):
    async def test(made):
        for handle in ("admin", "default", "remit_x on", "remit_", "REMIT_X", "remit_x\n"):
            for act in (made.mint, made.kill):
                with pytest.raises(WrongState):
                    await act(lease(handle, READ))

    on(redis_server, test)
