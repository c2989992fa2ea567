"""What goes wrong between: late mints, kills that stopped half-way, replicas, passwords and addresses that change."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import pytest

from remit.domain.errors import IssuerUnavailable, WrongState
from remit.issuers.postgres_address import Address

from . import pg
from .pg import MINE, as_admin, connected, lease, on, roles


def test_a_mint_that_comes_too_late_makes_nothing(database):
    async def test(made):
        for late in (lease("remit_late", seconds=-1), lease("remit_late", window=4.9)):
            with pytest.raises(WrongState, match="too late"):
                await made.mint(late)
        assert "remit_late" not in roles(database)

    on(database, test)


def test_what_the_admin_may_not_hand_out_is_refused_not_forgotten(database):
    async def test(made):
        wanted = lease("remit_less", {"tables": [{"name": "billing.ungrantable", "privileges": ["select"]}]})
        with pytest.raises(IssuerUnavailable) as refused:
            await made.mint(wanted)
        assert "GRANT OPTION" in refused.value.next_step and "ungrantable" in refused.value.inside
        await made.kill(wanted)

    on(database, test)


def test_a_kill_is_finished_wherever_an_earlier_one_stopped(database):
    async def test(made):
        halves = [
            "ALTER ROLE {} NOLOGIN",
            "ALTER ROLE {0} NOLOGIN; GRANT {0} TO boss",
            "ALTER ROLE {0} NOLOGIN; GRANT {0} TO boss; DROP OWNED BY {0}",
        ]
        for i, half in enumerate(halves):
            wanted = lease(f"remit_half{i}", MINE)
            await made.mint(wanted)
            as_admin(database, half.format(wanted.handle), "boss", "boss-password")
            await made.kill(wanted)
        for i in range(12):
            wanted = lease(f"remit_cut{i}")
            await made.mint(wanted)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(made.kill(wanted), 0.0001 + i * 0.0002)
            await made.kill(wanted)
        assert not {r for r in roles(database) if r.startswith(("remit_half", "remit_cut"))}

    on(database, test)


def test_two_replicas_mint_and_kill_fifty_at_once_and_leave_nothing(database):
    async def test(made):
        other = pg.issuer(database)
        wanted = [lease(f"remit_many{i}", MINE if i % 5 == 0 else pg.READ) for i in range(50)]
        replicas = (made, other)
        await asyncio.gather(*(replicas[i % 2].mint(w) for i, w in enumerate(wanted)))
        assert len({r for r in roles(database) if r.startswith("remit_many")}) == 50
        await asyncio.gather(*(replica.kill(w) for w in wanted for replica in replicas))
        assert not {r for r in roles(database) if r.startswith("remit_many")}
        await other.close()

    on(database, test)


def test_the_admins_password_may_change_under_way(database, tmp_path):
    file = tmp_path / "dsn"
    file.write_text(database.dsn("boss", "boss-password") + "\n")

    async def test(_):
        made = pg.build(pg.IssuerConfig("pg", "postgres", {"dsn_file": str(file)}), pg.Tools(None, None, None, "", {}))
        await made.mint(lease("remit_before"))
        as_admin(database, "ALTER ROLE boss PASSWORD 'another'")
        file.write_text(database.dsn("boss", "another"))
        as_admin(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'boss'")
        for _ in range(3):
            try:
                await made.kill(lease("remit_before"))
                break
            except IssuerUnavailable:
                continue
        assert "remit_before" not in roles(database)
        await made.close()

    try:
        on(database, test)
    finally:
        as_admin(database, "ALTER ROLE boss PASSWORD 'boss-password'")


def test_settings_reach_the_role(database):
    async def test(made):
        wanted = lease("remit_set")
        minted = await made.mint(wanted)
        assert minted.parts["dbname"] == "elsewhere"

        def look():
            with connected(minted) as session, pytest.raises(psycopg.OperationalError, match="too many connections"):
                assert session.execute("SHOW statement_timeout").fetchone() == ("1234ms",)
                connected(minted)

        await asyncio.to_thread(look)
        await made.kill(wanted)

    as_admin(database, "GRANT CONNECT ON DATABASE elsewhere TO boss WITH GRANT OPTION")
    as_admin(database, "CREATE SCHEMA billing CREATE TABLE customers (id int, name text)", database="elsewhere")
    as_admin(database, "GRANT USAGE ON SCHEMA billing TO boss WITH GRANT OPTION", database="elsewhere")
    as_admin(database, "GRANT SELECT ON billing.customers TO boss WITH GRANT OPTION", database="elsewhere")
    on(database, test, database="elsewhere", connection_limit=1, statement_timeout=1234)


@pytest.mark.parametrize(
    "dsn",
    ["postgresql://u:canary@a,b/d", "mysql://u:canary@h/d", "postgresql://u:canary@h:x/d", "postgresql://u:canary@h",
     "postgresql://u:canary@[::1/d", "host=h password=canary", "postgresql:///d"],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_not_repeated(dsn, run):
    made = pg.build(pg.IssuerConfig("pg", "postgres", {"dsn_env": "D"}), pg.Tools(None, None, None, "", {"D": dsn}))
    with pytest.raises(IssuerUnavailable) as refused:
        run(made.mint(lease()))
    assert "percent-encode" in refused.value.next_step
    assert "canary" not in f"{refused.value} {refused.value.next_step} {refused.value.inside}"


@pytest.mark.parametrize(
    ("dsn", "parts"),
    [
        ("postgresql://u:p@Db.Example/d", ("db.example", "5432", "d")),
        ("postgres://u:p@[::1]:6000/a%20b", ("::1", "6000", "a b")),
        ("postgresql://u:p@%2Fvar%2FRun/d", ("/var/Run", "5432", "d")),
        ("postgresql://u:p@/d?host=/var/Run&port=7", ("/var/Run", "7", "d")),
        ("postgresql://u:p@h/d?sslmode=verify-full", ("h", "5432", "d", "verify-full")),
    ],
)
def test_the_task_is_told_where_the_admin_goes(dsn, parts):
    address = Address(pg.IssuerConfig("pg", "postgres", {"dsn_env": "D"}), {"D": dsn})
    assert tuple(address.parts().values()) == parts
