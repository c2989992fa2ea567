"""What a task's MariaDB account must not be able to do, and kills in bad moments."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pymysql
import pytest

from remit.domain.errors import IssuerUnavailable, WrongState

from . import servers
from .rigs import lease
from .rigs.mysql import READ, as_root, connect, furnish, issuer, users


@pytest.fixture
def shop(mariadb):
    furnish(mariadb)
    return mariadb


def on(server, test, **settings):
    async def main():
        made = issuer(server.port, **settings)
        try:
            await test(made)
        finally:
            await made.close()

    asyncio.run(main())


def attempt(minted, statement):
    with connect(minted) as db, db.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT secret FROM shop.customers",
        "SELECT * FROM shop.customers",
        "SELECT * FROM shop.salaries",
        "SELECT * FROM shop.custom_rs",
        "SELECT * FROM shop2.other",
        "INSERT INTO shop.customers (id) VALUES (2)",
        "UPDATE shop.customers SET name = 'x'",
        "DELETE FROM shop.customers",
        "CREATE TABLE shop.mine (id int)",
        "CREATE USER more",
        "GRANT SELECT ON shop.customers TO boss",
        "GRANT SELECT (id) ON shop.customers TO boss",
        "SELECT LOAD_FILE('/etc/passwd') IS NOT NULL AND 1/0 FROM shop.salaries",
        "SELECT name FROM shop.customers INTO OUTFILE '/tmp/out'",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE shop.customers",
        "SELECT authentication_string FROM mysql.user",
        "CREATE EVENT shop.e ON SCHEDULE EVERY 1 SECOND DO DO 1",
        "CREATE PROCEDURE shop.p() SELECT 1",
        "CREATE VIEW shop.v AS SELECT id FROM shop.customers",
        "SET GLOBAL general_log = 0",
        "KILL 1",
        "SHUTDOWN",
        "INSTALL SONAME 'x'",
        "FLUSH TABLES",
    ],
)
def test_an_account_can_do_no_more_than_its_grants(shop, statement):
    async def test(made):
        wanted = lease("remit_least", READ)
        minted = await made.mint(wanted)
        assert await asyncio.to_thread(attempt, minted, "SELECT id, name FROM shop.customers") == ((1, "acme"),)
        with pytest.raises(pymysql.Error) as refused:
            await asyncio.to_thread(attempt, minted, statement)
        assert refused.value.args[0] in (1094, 1044, 1045, 1142, 1143, 1227, 1370, 1095, 1290, 1410, 1064), (
            refused.value
        )
        await made.kill(wanted)

    on(shop, test)


def test_it_cannot_outlive_its_kill_by_a_new_password_or_an_open_transaction(shop):
    async def test(made):
        wanted = lease("remit_live", {"tables": [{"name": "shop.salaries", "privileges": ["select", "insert"]}]})
        minted = await made.mint(wanted)

        def at_work():
            db = connect(minted)
            with db.cursor() as cursor:
                cursor.execute("SET PASSWORD = PASSWORD('mine')")
                db.begin()
                cursor.execute("INSERT INTO shop.salaries VALUES (1)")
            return db

        db = await asyncio.to_thread(at_work)
        await made.kill(wanted)
        with pytest.raises(pymysql.Error):
            await asyncio.to_thread(db.commit)
        assert as_root(shop, "SELECT * FROM shop.salaries") == () and not users(shop)
        assert as_root(shop, "SELECT count(*) FROM information_schema.events") == ((0,),)

    on(shop, test)


def test_a_long_statement_dies_with_the_kill(shop):
    async def test(made):
        wanted = lease("remit_slow", READ)
        minted = await made.mint(wanted)
        slow = asyncio.create_task(asyncio.to_thread(attempt, minted, "SELECT SLEEP(30) FROM (SELECT 1) x"))
        await asyncio.sleep(0.3)
        started = time.monotonic()
        await made.kill(wanted)
        with pytest.raises(pymysql.Error):
            await slow
        assert time.monotonic() - started < 5

    on(shop, test)


def test_no_password_reaches_the_servers_log(shop):
    async def test(made):
        wanted = lease("remit_canary", READ)
        minted = await made.mint(wanted)
        await asyncio.to_thread(lambda: connect(minted).close())
        await made.kill(wanted)
        text = (shop.folder / "general.log").read_text(errors="replace")
        assert "remit_canary" in text and minted.parts["password"] not in text

    on(shop, test)


def test_hostile_names_are_names(shop):
    async def test(made):
        wanted = lease("remit_odd", {"tables": [{"name": "shop.odd `name; DROP TABLE x", "privileges": ["select"]}]})
        minted = await made.mint(wanted)
        assert await asyncio.to_thread(attempt, minted, "SELECT * FROM shop.`odd ``name; DROP TABLE x`") == ()
        await made.kill(wanted)
        for handle in ("root", "remit_x' OR 1", "remit_", "REMIT_X", "remit_" + "a" * 60, "remit_x'@'%"):
            with pytest.raises(WrongState):
                await made.mint(lease(handle, READ))
            with pytest.raises(WrongState):
                await made.kill(lease(handle, READ))
        # A pattern is a name here: `custom_rs` is not `customers`, `shop_` is no `shop2`, `%` nothing.
        for name in ("shop.%", "%.customers", "shop_.other", "shop.nothing"):
            with pytest.raises(IssuerUnavailable):
                await made.mint(lease("remit_half", {"tables": [{"name": name, "privileges": ["select"]}]}))
        with pytest.raises(WrongState, match="parameter"):
            await made.mint(lease("remit_half", {"tables": [{"name": "shop.{table}", "privileges": ["select"]}]}))
            await made.mint(lease("remit_half", {"tables": [{"name": "{table}.x", "privileges": ["select"]}]}))
        assert not users(shop)  # half an account never stays

    on(shop, test)


def test_long_handles_fit_the_shorter_of_the_two_servers(shop):
    async def test(made):
        one, other = lease("remit_" + "a" * 32, READ), lease("remit_" + "a" * 31 + "b", READ)
        names = [(await made.mint(wanted)).parts["user"] for wanted in (one, other)]
        assert len(set(names)) == 2 and max(map(len, names)) <= 32 and users(shop) == set(names)
        await made.kill(one)
        await made.kill(other)
        assert not users(shop)

    on(shop, test)


def test_no_account_comes_to_life_when_its_window_is_over(shop):
    async def test(made):
        for late in (lease("remit_late", READ, window=5), lease("remit_late", READ, seconds=-1)):
            with pytest.raises(WrongState, match="too late"):
                await made.mint(late)
        assert not users(shop)

    on(shop, test)


def test_a_kill_that_meets_its_mint_leaves_nothing_that_works(shop):
    async def test(made):
        other = issuer(shop.port)
        for turn in range(20):
            wanted = lease(f"remit_race{turn}", READ)
            mint = asyncio.create_task(made.mint(wanted))
            await asyncio.sleep(0.0005 * turn)
            await other.kill(wanted)
            try:
                await mint
            except (IssuerUnavailable, WrongState):
                assert f"remit_race{turn}" not in users(shop)
            await other.kill(wanted)  # as the reconciler does when the window has closed
        assert not users(shop)
        await other.close()

    on(shop, test)


def test_many_at_once(shop):
    async def test(made):
        wanted = [lease(f"remit_many{i}", READ) for i in range(30)]
        minted = await asyncio.gather(*(made.mint(one) for one in wanted))
        assert len({one.parts["password"] for one in minted}) == 30 and len(users(shop)) == 30
        await asyncio.gather(*(made.kill(one) for one in wanted))
        assert not users(shop)

    on(shop, test)


def test_an_admin_that_may_not_grant_it_makes_nothing(shop):
    async def test(made):
        as_root(shop, "REVOKE GRANT OPTION ON shop.* FROM boss")
        with pytest.raises(IssuerUnavailable) as refused:
            await made.mint(lease("remit_half", READ))
        assert "boss-password" not in f"{refused.value}{refused.value.inside}" and not users(shop)

    on(shop, test, backstop="shop")


def test_tls_is_demanded_of_a_task_when_the_setting_says_so(shop):
    async def test(made):
        minted = await made.mint(lease("remit_tls", READ))
        with pytest.raises(pymysql.Error):
            await asyncio.to_thread(connect, minted)
        await made.kill(lease("remit_tls", READ))

    on(shop, test, require_tls=True)


def test_a_server_that_went_away_and_came_back_is_used_again():
    with servers.mariadb() as server:
        furnish(server)

        async def test(made):
            wanted = lease("remit_kept", READ)
            await made.mint(wanted)
            server.stop()
            with pytest.raises(IssuerUnavailable) as gone:
                await made.kill(wanted)
            assert "boss-password" not in f"{gone.value}{gone.value.inside}"
            server.start()
            await made.kill(replace(wanted))
            assert not users(server)

        on(server, test)
