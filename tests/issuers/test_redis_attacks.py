"""What a task's Redis user must not be able to do, and kills in bad moments."""

from __future__ import annotations

import asyncio
import signal

import pytest
import redis

from remit.domain.errors import IssuerUnavailable, WrongState
from remit.issuers.redis import COMMANDS

from .rigs import lease
from .rigs.redis import READ, admin, connect, issuer

ALL = {"commands": sorted(COMMANDS - {"getex", "expiretime", "pexpiretime"}), "keys": [{"under": ["cache", "acme"]}]}


def on(server, test):
    async def main():
        with admin(server) as client:
            client.mset(
                {"cache:acme:1": "a", "cache:globex:1": "g", "cache:acmex:1": "x", "cache:acme": "no", "other": "o"}
            )
        made = issuer(server.port)
        try:
            await test(made)
        finally:
            await made.close()

    asyncio.run(main())


def users(server):
    with admin(server) as client:
        return {name for name in client.acl_users() if name.startswith("remit_")}


@pytest.mark.parametrize(
    "words",
    [
        ("GET", "cache:globex:1"),
        ("GET", "cache:acmex:1"),
        ("GET", "cache:acme"),
        ("GET", "other"),
        ("MGET", "cache:acme:1", "other"),
        ("RENAME", "cache:acme:1", "other"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("RANDOMKEY",),
        ("DBSIZE",),
        ("SELECT", "1"),
        ("EVAL", "return redis.call('GET','other')", "0"),
        ("SORT", "cache:acme:1", "BY", "nosort", "GET", "other"),
        ("ACL", "WHOAMI"),
        ("ACL", "SETUSER", "default", "on", "nopass"),
        ("CONFIG", "GET", "*"),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "USER", "admin"),
        ("MONITOR",),
        ("DEBUG", "SLEEP", "0"),
        ("FLUSHALL",),
        ("SHUTDOWN",),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("MIGRATE", "127.0.0.1", "1", "cache:acme:1", "0", "10"),
        ("DUMP", "cache:acme:1"),
        ("OBJECT", "ENCODING", "other"),
        ("PUBLISH", "news", "x"),
        ("SUBSCRIBE", "news"),
        ("MODULE", "LIST"),
        ("SCRIPT", "FLUSH"),
        ("GEOSEARCHSTORE", "other", "cache:acme:g", "FROMLONLAT", "0", "0", "BYRADIUS", "1", "m"),
        ("SUNIONSTORE", "other", "cache:acme:1"),
        ("SUNIONSTORE", "cache:acme:2", "other"),
        ("ZUNION", "2", "cache:acme:z", "other"),
        ("ZUNIONSTORE", "cache:acme:z", "1", "other"),
        ("ZRANGESTORE", "cache:acme:z", "other", "0", "-1"),
        ("LMOVE", "other", "cache:acme:l", "LEFT", "RIGHT"),
        ("RPOPLPUSH", "cache:acme:l", "other"),
        ("SMOVE", "other", "cache:acme:s", "x"),
        ("PFMERGE", "cache:acme:h", "other"),
        ("BITOP", "NOT", "cache:acme:b", "other"),
        ("XREAD", "STREAMS", "other", "0"),
        ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "other", ">"),
        ("XGROUP", "CREATE", "other", "g", "$", "MKSTREAM"),
        ("XCLAIM", "other", "g", "c", "0", "0-1"),
        ("WATCH", "other"),
        ("COPY", "cache:acme:1", "cache:acme:2", "DB", "3"),
        ("MOVE", "cache:acme:1", "3"),
        ("SWAPDB", "0", "1"),
        ("PSUBSCRIBE", "*"),
        ("PUBSUB", "CHANNELS"),
        ("ACL", "SAVE"),
        ("CLIENT", "NO-EVICT", "on"),
        ("MEMORY", "USAGE", "other"),
        ("LATENCY", "RESET"),
    ],
    ids=" ".join,
)
def test_a_user_with_every_grantable_command_stays_within_its_keys(redis_server, words):
    async def test(made):
        wanted = lease("remit_least", ALL)
        minted = await made.mint(wanted)

        def attempt():
            with connect(minted) as client:
                assert client.get("cache:acme:1") == "a"
                with pytest.raises(redis.ResponseError, match=r"permission|not allowed"):
                    client.execute_command(*words)

        await asyncio.to_thread(attempt)
        await made.kill(wanted)

    on(redis_server, test)


def test_what_a_parameter_holds_is_text(redis_server):
    async def test(made):
        for value in ("*", "acm?", "[a-z]cme", "a\\*"):
            wanted = lease("remit_glob", {"commands": ["get"], "keys": [{"under": ["cache", value]}]})
            minted = await made.mint(wanted)

            def attempt(minted=minted):
                with connect(minted) as client, pytest.raises(redis.exceptions.NoPermissionError):
                    client.get("cache:acme:1")

            await asyncio.to_thread(attempt)
            await made.kill(wanted)
        with pytest.raises(WrongState, match="parameter"):
            await made.mint(lease("remit_hole", {"commands": ["get"], "keys": [{"under": ["cache", "{customer}"]}]}))
        with pytest.raises(WrongState):
            await made.mint(lease("remit_x on nopass", READ))
        assert not users(redis_server)

    on(redis_server, test)


def test_the_kill_ends_a_session_that_waits(redis_server):
    async def test(made):
        wanted = lease("remit_waits", {"commands": ["blpop"], "keys": [{"under": ["cache", "acme"]}]})
        minted = await made.mint(wanted)

        def wait():
            with connect(minted) as client, pytest.raises(redis.RedisError):
                client.blpop("cache:acme:list", timeout=4)

        waiting = asyncio.create_task(asyncio.to_thread(wait))
        await asyncio.sleep(0.2)
        await made.kill(wanted)
        await asyncio.wait_for(waiting, 3)

    on(redis_server, test)


def test_no_password_is_readable_at_the_server(redis_server):
    async def test(made):
        minted = await made.mint(lease("remit_canary", READ))
        with admin(redis_server) as client:
            shown = f"{client.acl_list()} {client.execute_command('ACL', 'LOG')} {client.slowlog_get()}"
        assert "remit_canary" in shown and minted.parts["password"] not in shown
        await made.kill(lease("remit_canary", READ))

    on(redis_server, test)


def test_a_mint_that_is_late_or_meets_its_kill_does_not_happen(redis_server):
    async def test(made):
        with pytest.raises(WrongState, match="too late"):
            await made.mint(lease("remit_late", READ, window=5))
        other = issuer(redis_server.port)
        for turn in range(30):
            wanted = lease(f"remit_race{turn}", READ)
            mint = asyncio.create_task(made.mint(wanted))
            await asyncio.sleep(0.0002 * turn)
            await other.kill(wanted)
            try:
                await mint
            except WrongState:
                assert f"remit_race{turn}" not in users(redis_server)
            await other.kill(wanted)
        assert not users(redis_server)
        await other.close()

    on(redis_server, test)


def test_a_server_that_stood_still_beyond_the_window_does_not_mint_when_it_goes_on(redis_server):
    """The transaction is on its way, and arrives when nobody looks any more."""

    async def test(made):
        await made.mint(lease("remit_warm", READ))
        wanted = lease("remit_still", READ, window=6.2)  # and the margin is 5
        watching = asyncio.Event()

        async def mint():
            async with made._admin() as client:
                real = client.pipeline

                def slow(**how):
                    pipeline = real(**how)
                    execute = pipeline.execute

                    async def late():
                        redis_server.process.send_signal(signal.SIGSTOP)
                        watching.set()
                        return await execute()

                    pipeline.execute = late
                    return pipeline

                client.pipeline = slow
                try:
                    await made.mint(wanted)
                finally:
                    client.pipeline = real

        try:
            minting = asyncio.create_task(mint())
            await watching.wait()
            await asyncio.sleep(1.5)
        finally:
            redis_server.process.send_signal(signal.SIGCONT)
        with pytest.raises((WrongState, IssuerUnavailable)):
            await minting
        assert users(redis_server) == {"remit_warm"}
        await made.kill(lease("remit_warm", READ))

    on(redis_server, test)


def test_after_a_restart_nobody_is_there_and_kills_are_fine(redis_server):
    async def test(made):
        wanted = lease("remit_gone", READ)
        await made.mint(wanted)
        redis_server.stop()
        with pytest.raises(IssuerUnavailable) as refused:
            await made.kill(wanted)
        assert "admin-password" not in f"{refused.value}{refused.value.inside}"
        redis_server.start()
        await made.kill(wanted)
        assert not users(redis_server)

    on(redis_server, test)
