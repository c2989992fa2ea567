"""A task that is granted some rows of a table, and names that might mean another one."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from remit.domain.errors import BadField, WrongState

from . import pg
from .pg import MINE, as_admin, connected, lease, on


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM billing.invoices",
        "INSERT INTO invoices (customer, cents) VALUES ('globex', 1)",
        "UPDATE invoices SET customer = 'globex'",
        "DELETE FROM invoices",
    ],
)
def test_a_task_touches_its_rows_and_no_others(database, statement):
    async def test(made):
        wanted = lease("remit_rows", MINE)
        minted = await made.mint(wanted)

        def within():
            with connected(minted) as session:
                assert session.execute("SELECT cents FROM invoices ORDER BY cents").fetchall() == [(100,), (200,)]
                with session.transaction(force_rollback=True):
                    session.execute("INSERT INTO invoices (customer, cents) VALUES ('acme', 7)")
                    assert session.execute("UPDATE invoices SET cents = 8").rowcount == 3
                with pytest.raises(psycopg.Error, match=r"permission denied|check option"):
                    session.execute(statement)

        await asyncio.to_thread(within)
        await made.kill(wanted)
        assert as_admin(database, "SELECT 1 FROM pg_namespace WHERE nspname = 'remit_rows'") == []
        assert as_admin(database, "SELECT sum(cents) FROM billing.invoices") == [(4542,)]

    on(database, test)


def test_a_function_of_the_tasks_own_sees_no_row_before_the_filter(database):
    async def test(made):
        wanted = lease("remit_leaky", MINE)
        minted = await made.mint(wanted)
        seen = []

        def leak():
            with connected(minted) as session:
                session.add_notice_handler(lambda notice: seen.append(notice.message_primary))
                session.execute(
                    "CREATE FUNCTION pg_temp.leak(int) RETURNS bool COST 0.0000001 LANGUAGE plpgsql AS"
                    " $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"
                )
                session.execute("SELECT * FROM invoices WHERE pg_temp.leak(cents)")

        await asyncio.to_thread(leak)
        await made.kill(wanted)
        assert sorted(seen) == ["100", "200"]

    on(database, test)


def test_a_hostile_value_is_only_a_value(database):
    async def test(made):
        for i, value in enumerate(("acme' OR '1'='1", "acme\\' OR true --", "globex'; DROP TABLE billing.x; --")):
            wanted = lease(f"remit_value{i}", {**MINE, "rows": {"billing.invoices": {"customer": value}}})
            minted = await made.mint(wanted)
            rows = await asyncio.to_thread(lambda m: connected(m).execute("SELECT * FROM invoices").fetchall(), minted)
            assert rows == []
            await made.kill(wanted)
        with pytest.raises(WrongState, match="not stated"):
            await made.mint(lease("remit_hole", {**MINE, "rows": {"billing.invoices": {"customer": "{customer}"}}}))

    on(database, test)


@pytest.mark.parametrize(
    "grants",
    [
        {"tables": [{"name": f"billing.{'ü' * 40}", "privileges": ["select"]}]},  # 80 bytes: would be cut
        {"tables": [{"name": "billing.a", "privileges": ["select"], "columns": ["x" * 64]}]},
        {"tables": [{"name": "billing.a\x00b", "privileges": ["select"]}]},
        {"tables": [{"name": "pg_catalog.pg_authid", "privileges": ["select"]}]},
        {"tables": [{"name": "information_schema.tables", "privileges": ["select"]}]},
        {"tables": [{"name": "a.b", "privileges": ["select"]}, {"name": "a.b", "privileges": ["delete"]}]},
        {"tables": [{"name": "a.b", "privileges": ["select"]}], "rows": {"a.c": {"x": "1"}}},
        {"tables": [{"name": "a.b", "privileges": ["select"]}], "rows": {"a.b": {}}},
        {"tables": [{"name": "a.b", "privileges": ["select"]}], "rows": {"a.b": {"x": True}}},
        {"tables": [{"name": "a.b", "privileges": ["select"]}], "rows": {"a.b": {"x": "\x00"}}},
        {"tables": [{"name": "a.b", "privileges": ["select"]}], "rows": {"a.b": "x"}},
        {
            "tables": [{"name": "a.t", "privileges": ["select"]}, {"name": "b.t", "privileges": ["select"]}],
            "rows": {"a.t": {"x": "1"}, "b.t": {"x": "1"}},
        },
        {"tables": [{"name": "a.b", "privileges": ["select"]}], "sequences": ["s"]},
        {"tables": [{"name": "a.b", "privileges": ["select", 1]}]},
        {"tables": [{"name": "a.b", "privileges": ["select", "select"]}]},
        {"tables": [{"name": "a.\ud800", "privileges": ["select"]}]},
    ],
    ids=str,
)
def test_grants_that_would_reach_something_else_are_refused(database, grants):
    with pytest.raises(BadField):
        pg.issuer(database).checked(grants)
