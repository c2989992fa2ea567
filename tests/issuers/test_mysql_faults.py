"""What goes wrong between at a MariaDB: kills inside mints, late messages, blind admins, stripped TLS, other clocks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import struct
import tempfile
import time
from pathlib import Path

import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.issuers import Tools, build
from remit.issuers.mysql_grants import PRIVILEGES, literal, parse, quoted
from remit.issuers.mysql_password import caching_sha2, native, sha_crypt
from remit.issuers.mysql_sessions import Session

from . import servers
from .certificates import certificate
from .rigs import lease
from .rigs.mysql import READ, as_root, connect, furnish, issuer, users


@pytest.fixture
def shop(mariadb):
    furnish(mariadb)
    return mariadb


@pytest.fixture(scope="module")
def furnished(mariadb):
    furnish(mariadb)


def on(server, test, query="", **settings):
    async def main():
        made = issuer(server.port, query, **settings)
        try:
            await test(made)
        finally:
            await made.close()

    asyncio.run(main())


def sessions(server, user):
    return as_root(server, f"SELECT id FROM information_schema.processlist WHERE user = '{user}'")


# --- mints ---


@pytest.mark.parametrize("steps", [2, 3, 4, 5])
def test_a_kill_in_the_midst_of_a_mint_is_not_undone_by_its_next_step(shop, monkeypatch, steps):
    """GRANT to an account that is gone would make it again, unlocked and without a password, if the mode allowed."""
    run = Session.run

    async def interrupted(session, *statements):
        if len(statements) < 4:
            return await run(session, *statements)
        await run(session, *statements[:steps])
        as_root(shop, "DROP USER remit_between")
        return await run(session, *statements[steps:])

    async def test(made):
        monkeypatch.setattr(Session, "run", interrupted)
        with pytest.raises(IssuerUnavailable):
            await made.mint(lease("remit_between", READ))
        assert not users(shop)

    as_root(shop, "SET GLOBAL sql_mode = ''")
    try:
        on(shop, test, backstop="shop")
    finally:
        as_root(shop, "SET GLOBAL sql_mode = DEFAULT")


def test_a_mint_that_the_server_gets_when_its_window_has_closed_makes_nothing():
    """All of it is on its way, and arrives when nobody looks any more."""
    with servers.mariadb() as server:
        furnish(server)

        async def test(made):
            await made.mint(lease("remit_warm", READ))
            wanted = lease("remit_still", READ, window=6.0)  # one second, and the margin
            server.process.send_signal(signal.SIGSTOP)
            try:
                minting = asyncio.create_task(made.mint(wanted))
                await asyncio.sleep(1.3)
            finally:
                server.process.send_signal(signal.SIGCONT)
            with pytest.raises((WrongState, IssuerUnavailable)):
                await minting
            assert users(server) == {"remit_warm"}

        on(server, test)


def test_a_mint_that_waits_for_a_lock_gives_up_in_time(shop):
    async def test(made):
        root = pymysql.connect(unix_socket=f"{shop.folder}/s", user="root", password="admin-password")
        with root, root.cursor() as cursor:
            cursor.execute("FLUSH TABLES WITH READ LOCK")
            begun = time.monotonic()
            with pytest.raises(IssuerUnavailable):
                await made.mint(lease("remit_waits", READ))
            assert time.monotonic() - begun < 9
        await made.kill(lease("remit_waits", READ))
        assert not users(shop)

    on(shop, test)


def test_a_mint_that_is_cancelled_says_so_and_its_kill_leaves_nothing(shop):
    async def test(made):
        for turn in range(10):
            wanted = lease(f"remit_cut{turn}", READ)
            minting = asyncio.create_task(made.mint(wanted))
            await asyncio.sleep(turn * 0.0002)
            minting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await minting
            await asyncio.sleep(0.05)  # what the server has got, it does
            await made.kill(wanted)
        assert not users(shop)

    on(shop, test)


@pytest.mark.parametrize("zone", ["+13:00", "-11:00"])
def test_the_servers_time_zone_moves_no_window(shop, zone):
    async def test(made):
        with pytest.raises(WrongState, match="too late"):
            await made.mint(lease("remit_zone", READ, window=4))
        await made.mint(lease("remit_zone", READ))
        ((at,),) = as_root(shop, "SELECT UNIX_TIMESTAMP(CONVERT_TZ(execute_at, '+00:00', @@time_zone)) FROM"
                                 " information_schema.events WHERE event_name = 'remit_zone'")  # fmt: skip
        assert abs(int(at) - time.time() - 60) < 3
        await made.kill(lease("remit_zone", READ))

    as_root(shop, f"SET GLOBAL time_zone = '{zone}'")
    try:
        on(shop, test, backstop="shop")
    finally:
        as_root(shop, "SET GLOBAL time_zone = DEFAULT")


# --- kills ---


def test_an_admin_that_cannot_see_sessions_confirms_nothing(shop):
    async def test(made):
        for act in (made.mint, made.kill):
            with pytest.raises(IssuerUnavailable) as refused:
                await act(lease("remit_blind", READ))
            assert "PROCESS" in refused.value.next_step
        assert not users(shop)

    as_root(shop, "REVOKE PROCESS ON *.* FROM boss")
    on(shop, test)


def test_a_session_that_is_slow_to_log_in_does_not_survive(shop):
    """It has said who it is, and takes its time with the proof; the server has looked its account up already."""

    async def test(made):
        wanted = lease("remit_slowly", READ)
        minted = await made.mint(wanted)
        with socket.create_connection(("127.0.0.1", shop.port), timeout=5) as knocking:
            knocking.recv(4096)
            flags = 0x1 | 0x200 | 0x8000 | 0x80000  # long password, protocol 4.1, secure connection, plugins
            login = struct.pack("<IIB23s", flags, 1 << 24, 45, b"") + b"remit_slowly\0\0no_such_plugin\0"
            knocking.sendall(struct.pack("<I", len(login))[:3] + b"\1" + login)
            asked = knocking.recv(4096)
            assert b"mysql_native_password" in asked
            salt = asked[5:].split(b"\0", 1)[1][:20]
            await made.kill(wanted)
            proof = pymysql._auth.scramble_native_password(minted.parts["password"].encode(), salt)
            try:
                knocking.sendall(struct.pack("<I", len(proof))[:3] + b"\3" + proof)
                answer = knocking.recv(4096)
            except OSError:
                answer = b""
            assert answer[4:5] in (b"", b"\xff")  # ended, or an error: not OK
        assert sessions(shop, "remit_slowly") == ()

    on(shop, test)


def test_who_keeps_knocking_is_not_let_in_after_the_kill(shop):
    async def test(made):
        for turn in range(4):
            wanted, over = lease(f"remit_knock{turn}", READ), asyncio.Event()
            minted = await made.mint(wanted)

            def knock(minted=minted, over=over):
                while not over.is_set():
                    with contextlib.suppress(pymysql.Error):
                        connect(minted).cursor().execute("SELECT SLEEP(30)")

            knocking = [asyncio.create_task(asyncio.to_thread(knock)) for _ in range(3)]
            await asyncio.sleep(0.05)
            await made.kill(wanted)
            assert sessions(shop, wanted.handle) == ()
            over.set()
            await asyncio.gather(*knocking)

    on(shop, test)


def test_a_prepared_statement_and_an_open_handler_end_with_the_kill(shop):
    async def test(made):
        wanted = lease("remit_ready", {"tables": [{"name": "shop.customers", "privileges": ["select"]}]})
        minted = await made.mint(wanted)

        def ready():
            db = connect(minted)
            db.cursor().execute("PREPARE p FROM 'SELECT * FROM shop.customers'")
            db.cursor().execute("HANDLER shop.customers OPEN")
            return db

        db = await asyncio.to_thread(ready)
        await made.kill(wanted)
        for statement in ("EXECUTE p", "HANDLER customers READ FIRST", "SELECT 1"):
            with pytest.raises(pymysql.Error):
                db.cursor().execute(statement)

    on(shop, test)


def test_a_backstop_ends_sessions_too_and_one_that_does_not_run_is_refused(shop):
    async def test(made):
        minted = await made.mint(lease("remit_brief", READ, seconds=2.5))
        db = await asyncio.to_thread(connect, minted)
        await asyncio.sleep(3.5)
        assert not users(shop) and sessions(shop, "remit_brief") == ()
        with pytest.raises(pymysql.Error):
            db.ping(reconnect=False)
        as_root(shop, "SET GLOBAL event_scheduler = OFF")
        with pytest.raises(IssuerUnavailable, match="no events"):
            await made.mint(lease("remit_off", READ))
        assert not users(shop)

    try:
        on(shop, test, backstop="shop")
    finally:
        as_root(shop, "SET GLOBAL event_scheduler = ON")


# --- the way there ---


def test_the_admins_password_may_change_under_way(shop, tmp_path):
    file = tmp_path / "dsn"

    def say(password):
        file.write_text(f"mysql://boss:{password}@127.0.0.1:{shop.port}/shop\n")

    async def main():
        say("boss-password")
        made = build(IssuerConfig("m", "mysql", {"dsn_file": str(file)}), Tools(None, None, None, "", {}))
        await made.mint(lease("remit_before", READ))
        as_root(shop, "ALTER USER boss IDENTIFIED BY 'another'")
        for (number,) in sessions(shop, "boss"):
            as_root(shop, f"KILL {number}")
        say("another")
        await made.kill(lease("remit_before", READ))
        assert not users(shop)
        await made.close()

    asyncio.run(main())


@pytest.mark.parametrize("dsn", [
    "mysql://u:canary@/d", "postgresql://u:canary@h/d", "mysql://u:canary@h:x/d", "mysql://u:canary@h/d?ssl=no",
    "mysql://u:canary@h/d?sslmode=require", "mysql://u:canary@[::1/d",
])  # fmt: skip
def test_an_address_that_cannot_be_used_is_not_repeated(dsn, run):
    made = build(IssuerConfig("m", "mysql", {"dsn_env": "D"}), Tools(None, None, None, "", {"D": dsn}))
    with pytest.raises(IssuerUnavailable) as refused:
        run(made.mint(lease(grants=READ)))
    assert "percent-encode" in refused.value.next_step
    assert "canary" not in f"{refused.value} {refused.value.next_step} {refused.value.inside}"


def test_tls_that_was_asked_for_is_not_given_up_when_the_server_has_none(shop, tmp_path):
    async def test(made):
        for act in (made.mint, made.kill):
            with pytest.raises(IssuerUnavailable, match="did not do it"):
                await act(lease("remit_clear", READ))
        assert sessions(shop, "boss") == () and not users(shop)

    on(shop, test, f"?ssl_ca={certificate(tmp_path)[0]}")


@pytest.fixture
def readable():
    """A folder that the server's own user can read, as pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="remit-tls-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_over_tls_the_task_must_use_it_as_well(readable):
    cert, key = certificate(readable)
    with servers.mariadb(f"--ssl-cert={cert}", f"--ssl-key={key}") as server:
        furnish(server)

        async def test(made):
            minted = await made.mint(lease("remit_tls", READ))

            def use():
                with pytest.raises(pymysql.Error):
                    connect(minted, ssl_disabled=True)
                with connect(minted, ssl=ssl.create_default_context(cafile=cert)) as db, db.cursor() as cursor:
                    cursor.execute("SELECT name FROM shop.customers")
                    return cursor.fetchall()

            assert await asyncio.to_thread(use) == (("acme",),)
            await made.kill(lease("remit_tls", READ))
            assert not users(server)

        on(server, test, f"?ssl_ca={cert}")

        async def stranger(made):  # not an authority it was told to trust
            with pytest.raises(IssuerUnavailable):
                await made.kill(lease("remit_tls", READ))

        on(server, stranger, "?ssl=true")


# --- text ---


def test_what_is_kept_of_a_password_is_what_the_servers_keep():
    """MariaDB's PASSWORD(); a row of MySQL 8's own (hashcat's example 7401), and libc's crypt()."""
    assert native("password") == "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"
    salt = bytes.fromhex("F9CC98CE08892924F50A213B6BC571A2C11778C5")
    kept = "625479393559393965414D45316477456B484F41316E64484742577A2E3162785353526B7554584647562F"
    assert sha_crypt(b"hashcat", salt) == bytes.fromhex(kept).decode()
    assert sha_crypt(b"Hello world!", b"saltstring") == "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
    made = caching_sha2("x" * 32)
    assert len(made) == 70 and made.isascii() and made.isprintable() and made != caching_sha2("x" * 32)
    assert made.endswith(sha_crypt(b"x" * 32, made[7:27].encode()))


names = st.text(st.characters(max_codepoint=0xFFFF, exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)  # fmt: skip


@given(name=names, column=names)
@settings(max_examples=40)
def test_a_grant_is_on_the_table_of_that_name_and_no_other(mariadb, furnished, name, column):
    name, column = name.rstrip() or "x", column.rstrip() or "x"
    table = {"name": f"shop.{name}", "privileges": ["select"], "columns": [column]}
    as_root(mariadb, f"CREATE OR REPLACE TABLE shop.{quoted(name)} ({quoted(column)} int)")

    async def test(made):
        await made.mint(lease("remit_named", {"tables": [table]}))
        given = as_root(
            mariadb, "SELECT db, table_name, column_name FROM mysql.columns_priv WHERE user = 'remit_named'"
        )
        assert given == (("shop", name, column),)
        await made.kill(lease("remit_named"))

    try:
        on(mariadb, test)
    finally:
        as_root(mariadb, f"DROP TABLE shop.{quoted(name)}")


@given(text=names)
@settings(max_examples=40)
def test_a_text_stays_a_text(mariadb, furnished, text):
    async def test(made):
        async with made._sessions.one() as session:
            assert await session.run(f"SELECT {literal(text)}") == [(text,)]

    on(mariadb, test)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([*PRIVILEGES, "a.b", "c.d"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["tables", "name", "privileges", "columns", "a.b"]), inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["tables", "rows"]), json))
def test_whatever_is_written_is_grants_or_a_bad_field(written):
    with contextlib.suppress(BadField):
        assert isinstance(parse(written), tuple)


def test_the_rights_that_the_admin_is_said_to_need_are_enough(shop):
    """`docs/howto/mysql.md`: table by table, and EVENT in a database of its own."""
    for statement in (
        "DROP USER boss",
        "CREATE USER boss IDENTIFIED BY 'boss-password'",
        "GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO boss",
        "GRANT SELECT, INSERT ON shop.customers TO boss WITH GRANT OPTION",
        "GRANT EVENT ON shop2.* TO boss",
    ):
        as_root(shop, statement)
    grants = {"tables": [{"name": "shop.customers", "privileges": ["select", "insert"], "columns": ["id", "name"]}]}

    async def test(made):
        minted = await made.mint(lease("remit_small", grants))

        def use():
            with connect(minted) as db, db.cursor() as cursor:
                cursor.execute("INSERT INTO customers (id, name) VALUES (2, 'globex')")
                cursor.execute("SELECT name FROM customers")
                with pytest.raises(pymysql.Error):
                    cursor.execute("INSERT INTO customers (secret) VALUES ('x')")
                return cursor.rowcount

        await asyncio.to_thread(use)
        await made.kill(lease("remit_small", grants))
        with pytest.raises(IssuerUnavailable):
            await made.mint(lease("remit_more", {"tables": [{"name": "shop.salaries", "privileges": ["select"]}]}))
        assert not users(shop)

    on(shop, test, backstop="shop2")
