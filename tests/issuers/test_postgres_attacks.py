"""What an agent that holds a task's role may try, so as to outlive its task, to widen it, or to stop others."""

from __future__ import annotations

import asyncio
import threading
import time

import psycopg
import pytest

from remit.domain.errors import IssuerUnavailable

from .pg import as_admin, connected, lease, on, roles

WRITES = {"tables": [{"name": "billing.invoices", "privileges": ["select", "update", "delete"]}]}


def sessions(database, oid):
    return as_admin(database, f"SELECT pid FROM pg_stat_activity WHERE usesysid = {oid}")


# --- to outlive the kill ---


def test_a_session_that_hides_while_it_starts_does_not_survive(database):
    """`post_auth_delay` is the client's to choose: let in, and unseen in pg_stat_activity for as long as it likes."""
    outcome = []

    def hide(minted):
        try:
            outcome.append(connected(minted, options="-c post_auth_delay=2").execute("SELECT 1").fetchone())
        except psycopg.Error as refused:
            outcome.append(refused)

    async def test(made):
        wanted = lease("remit_hidden")
        minted = await made.mint(wanted)
        thread = threading.Thread(target=hide, args=(minted,))
        thread.start()
        await asyncio.sleep(0.5)
        await made.kill(wanted)
        await asyncio.to_thread(thread.join, 10)
        assert isinstance(outcome[0], psycopg.Error), outcome

    on(database, test)


def test_somebody_elses_session_that_is_slow_to_start_is_left_alone(database):
    async def test(made):
        slow, wanted = lease("remit_slow"), lease("remit_quick")
        await made.mint(wanted)
        as_admin(database, "DROP ROLE IF EXISTS app")
        as_admin(database, "CREATE ROLE app LOGIN PASSWORD 'app-password'")
        app = database.dsn("app", "app-password")
        starting = asyncio.create_task(asyncio.to_thread(psycopg.connect, app, options="-c post_auth_delay=3"))
        await asyncio.sleep(0.3)
        await made.kill(wanted)
        assert not starting.done()
        with await starting as session:
            assert session.execute("SELECT 1").fetchone() == (1,)
        await made.kill(slow)

    on(database, test)


def test_who_keeps_knocking_is_not_let_in_after_the_kill(database):
    stop = threading.Event()

    def knock(minted):
        while not stop.is_set():
            try:
                connected(minted).execute("SELECT pg_sleep(60)")
            except psycopg.Error:
                continue

    async def test(made):
        for i in range(6):
            wanted = lease(f"remit_knock{i}")
            minted = await made.mint(wanted)
            oid = as_admin(database, f"SELECT oid FROM pg_roles WHERE rolname = '{wanted.handle}'")[0][0]
            stop.clear()
            threads = [threading.Thread(target=knock, args=(minted,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            await asyncio.sleep(0.05)
            await made.kill(wanted)
            assert sessions(database, oid) == []
            stop.set()
            for thread in threads:
                await asyncio.to_thread(thread.join, 10)

    on(database, test)


def test_no_lock_that_a_task_can_take_delays_a_kill_or_stops_a_mint(database):
    """Every advisory lock by its number would do for a victim that waits for one: all of them are PUBLIC's."""

    async def test(made):
        bad, good = lease("remit_locker", WRITES), lease("remit_good")
        session = await asyncio.to_thread(connected, await made.mint(bad))

        def take():
            session.execute("SELECT pg_advisory_lock(5568450149)")
            session.execute("BEGIN")
            session.execute("LOCK TABLE billing.invoices IN ACCESS EXCLUSIVE MODE")

        await asyncio.to_thread(take)
        begun = time.perf_counter()
        await made.mint(good)
        await made.kill(good)
        await made.kill(bad)
        assert time.perf_counter() - begun < 1.0
        assert not roles(database) & {"remit_locker", "remit_good"}

    on(database, test)


def test_what_a_task_made_in_another_database_does_not_keep_its_role(database):
    async def test(made):
        wanted = lease("remit_abroad")
        minted = await made.mint(wanted)

        def abroad():
            with psycopg.connect(**{**minted.parts, "dbname": "elsewhere"}) as db:
                db.execute("SELECT lo_create(4711)")

        await asyncio.to_thread(abroad)
        await made.kill(wanted)
        assert "remit_abroad" not in roles(database)
        assert as_admin(database, "SELECT 1 FROM pg_largeobject_metadata WHERE oid = 4711", database="elsewhere") == []

    on(database, test)


# --- to widen ---

TRAPS = """
CREATE FUNCTION billing.trap() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM billing.salaries';
CREATE VIEW billing.trap_view AS SELECT * FROM billing.salaries;
GRANT SELECT ON billing.trap_view TO PUBLIC;
CREATE TABLE billing.trap_table (id int); GRANT INSERT ON billing.trap_table TO PUBLIC;
CREATE RULE trap AS ON INSERT TO billing.trap_table DO ALSO INSERT INTO billing.salaries VALUES (666);
"""


@pytest.mark.parametrize("settings", [{}, {"owner": "heir"}], ids=["dropped", "inherited"])
@pytest.mark.parametrize(
    "spring",
    ["SELECT billing.trap()", "SELECT * FROM billing.trap_view", "INSERT INTO billing.trap_table VALUES (1)"],
)
def test_what_a_task_leaves_behind_does_not_act_for_the_admin(database, settings, spring):
    """Where tasks can create at all. Were it all reassigned to the admin, the next task would run as the admin."""

    async def test(made):
        first, second = lease("remit_first"), lease("remit_second")
        minted = await made.mint(first)

        def lay():
            as_admin(database, "GRANT CREATE ON SCHEMA billing TO remit_first", "boss", "boss-password")
            with connected(minted) as session:
                session.execute(TRAPS)

        await asyncio.to_thread(lay)
        await made.kill(first)
        minted = await made.mint(second)

        def tread():
            with connected(minted) as session, pytest.raises(psycopg.ProgrammingError):
                session.execute(spring)

        await asyncio.to_thread(tread)
        await made.kill(second)
        assert as_admin(database, "SELECT * FROM billing.salaries") == []

    try:
        on(database, test, **settings)
    finally:
        as_admin(database, "DROP OWNED BY heir CASCADE; GRANT CREATE ON SCHEMA billing TO heir")


def test_what_a_task_made_goes_to_the_owner_that_is_configured(database):
    async def test(made):
        wanted = lease("remit_owner")
        minted = await made.mint(wanted)
        as_admin(database, "GRANT CREATE ON SCHEMA billing TO remit_owner", "boss", "boss-password")
        await asyncio.to_thread(lambda: connected(minted).execute("CREATE TABLE billing.made (id int)"))
        await made.kill(wanted)
        assert as_admin(database, "SELECT tableowner FROM pg_tables WHERE tablename = 'made'") == [("heir",)]
        assert "remit_owner" not in roles(database)

    on(database, test, owner="heir")
    as_admin(database, "DROP TABLE billing.made")


def test_an_owner_that_does_not_exist_keeps_the_kill_unconfirmed_and_the_role_out(database):
    async def test(made):
        wanted = lease("remit_heirless")
        minted = await made.mint(wanted)
        with pytest.raises(IssuerUnavailable):
            await made.kill(wanted)
        with pytest.raises(psycopg.OperationalError):
            await asyncio.to_thread(connected, minted)

    on(database, test, owner="nobody_here")
    on(database, lambda made: made.kill(lease("remit_heirless")))
