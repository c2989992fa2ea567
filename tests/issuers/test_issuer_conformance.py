"""One suite for every issuer, then what is special about PostgreSQL, on a real server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import psycopg
import pytest

from remit.domain.caller import CallerKind
from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.formats import jwk, rfc9068
from remit.issuers import Tools, build
from remit.issuers.scram import verifier
from remit.testing.issuer import FakeIssuer
from remit.testing.postgres import PostgresServer
from remit.verbs.admit import seal
from tests.world import world

from . import pg
from .pg import READ, lease, on, roles


@pytest.fixture(params=["fake", "postgres", "jwt", "static"])
def issuer(request, run):
    """(issuer, lease, alive) with `alive(minted) -> bool`."""

    async def opened():
        if request.param == "fake":
            fake = FakeIssuer()
            return fake, lease(), lambda minted: minted.parts["user"] in fake.live
        if request.param == "postgres":
            server = request.getfixturevalue("database")

            def alive(minted):
                try:
                    with psycopg.connect(**minted.parts, connect_timeout=5) as db:
                        return db.execute("SELECT name FROM billing.customers").fetchall() == [("acme",)]
                except psycopg.Error:
                    return False

            return pg.issuer(server), lease(), alive
        w = await world()
        tools = Tools(w.store, w.env.signer, w.env.sealer, "https://r", {})
        if request.param == "static":
            await seal(w.env, w.call(CallerKind.OPERATOR, "op"), "stripe", b"canary")
            return build(IssuerConfig("s", "static"), tools), lease(grants={"secret": "stripe"}), None
        _, call = await w.proved()
        task = await w.task(call)
        keys = [jwk.parse(key) for key in w.env.signer.public("token")]
        minting = lease(grants={"audience": "https://rs", "scope": ["a", "b"]}, task=task.id)

        def reads(minted):
            token = rfc9068.parse(
                minted.parts["access_token"],
                issuer="https://r",
                audience="https://rs",
                keys=keys,
                now=minting.reserved_at,
            )
            return (token.task, token.jkt, token.scope, token.actor) == (task.id, call.caller.jkt, "a b", ("bot",))

        return build(IssuerConfig("j", "jwt"), tools), minting, reads

    return run(opened())


def test_what_is_minted_works_and_what_is_killed_does_not(issuer, run):
    made, wanted, alive = issuer

    async def main():
        minted = await made.mint(wanted)
        assert minted.parts and "canary" not in repr(minted)
        if alive is not None:
            assert await asyncio.to_thread(alive, minted)
        await made.kill(wanted)
        await made.kill(wanted)
        await made.kill(replace(wanted, handle="remit_never"))
        if alive is not None and "access_token" not in minted.parts:
            assert not await asyncio.to_thread(alive, minted)
        if hasattr(made, "close"):
            await made.close()

    run(main())


@pytest.mark.parametrize(
    ("kind", "grants"),
    [
        ("postgres", {}),
        ("postgres", {"tables": []}),
        ("postgres", {**READ, "extra": 1}),
        ("postgres", {"tables": [5]}),
        ("postgres", {"tables": [{"name": "customers", "privileges": ["select"]}]}),
        ("postgres", {"tables": [{"name": "a.b", "privileges": ["drop"]}]}),
        ("postgres", {"tables": [{"name": "a.b", "privileges": []}]}),
        ("postgres", {"tables": [{"name": "a.b", "privileges": ["select"], "columns": [""]}]}),
        ("postgres", {"tables": [{"name": "a.b", "privileges": ["delete"], "columns": ["x"]}]}),
        ("postgres", {"tables": [{"name": "a.b", "privileges": ["select"], "rows": "x"}]}),
        ("jwt", {}),
        ("jwt", {"audience": "no-uri"}),
        ("jwt", {"audience": "https://a#f"}),
        ("jwt", {"audience": "https://a", "scope": ["a b"]}),
        ("jwt", {"audience": "https://a", "x": 1}),
        ("jwt", {"audience": "https://remit.test/"}),
        ("jwt", {"audience": "https://a", "scope": ["a"] * 101}),
        ("static", {}),
        ("static", {"secret": 5}),
        ("static", {"secret": "a", "x": 1}),
    ],
    ids=str,
)
def test_grants_an_issuer_cannot_mint_are_refused(kind, grants):
    settings = {"dsn_env": "X"} if kind == "postgres" else {}
    with pytest.raises(BadField):
        build(IssuerConfig("x", kind, settings), Tools(None, None, None, "https://remit.test", {})).checked(grants)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("postgress", {}, "did you mean 'postgres'"),
        ("postgres", {}, "dsn_env"),
        ("postgres", {"dsn_env": "A", "dsn_file": "b"}, "either"),
        ("postgres", {"dsn": "postgresql://x"}, "did you mean 'dsn_"),
        ("postgres", {"dsn_env": "A", "connection_limit": 0}, "1 to 100"),
        ("postgres", {"dsn_env": "A", "statement_timeout": -1}, "0 to"),
        ("postgres", {"dsn_env": "A", "owner": ""}, "owner"),
        ("postgres", {"dsn_env": ""}, "must be text"),
        ("postgres", {"dsn_env": "A", "database": 5}, "must be text"),
        ("jwt", {"x": 1}, "known: none"),
    ],
)
def test_configuration_that_is_wrong_says_so(kind, settings, words):
    with pytest.raises(BadField) as refused:
        build(IssuerConfig("x", kind, settings), Tools(None, None, None, "", {}))
    assert words in refused.value.message


def test_an_address_that_is_missing_says_what_to_set(run, tmp_path):
    for settings, words in (({"dsn_env": "NOPE"}, "Set NOPE"), ({"dsn_file": str(tmp_path / "none")}, "Put it into")):
        made = build(IssuerConfig("pg", "postgres", settings), Tools(None, None, None, "", {}))
        with pytest.raises(IssuerUnavailable) as refused:
            run(made.mint(lease()))
        assert words in refused.value.next_step


def test_a_secret_nobody_sealed_is_unavailable(run):
    async def main():
        w = await world()
        made = build(IssuerConfig("s", "static"), Tools(w.store, w.env.signer, w.env.sealer, "", {}))
        with pytest.raises(IssuerUnavailable, match="Nothing is sealed"):
            await made.mint(lease(grants={"secret": "nothing"}))
        made = build(IssuerConfig("j", "jwt"), Tools(w.store, w.env.signer, w.env.sealer, "", {}))
        with pytest.raises(WrongState):
            await made.mint(lease(grants={"audience": "https://rs"}, task="tsk_nothing"))

    run(main())


# --- PostgreSQL ---


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT secret FROM billing.customers",
        "SELECT * FROM billing.customers",
        "SELECT * FROM billing.salaries",
        "INSERT INTO billing.customers VALUES (2)",
        "UPDATE billing.customers SET name = 'x'",
        "DELETE FROM billing.customers",
        "CREATE TABLE billing.mine (id int)",
        "CREATE ROLE more",
        "SET ROLE boss",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'id'",
    ],
)
def test_a_role_can_do_no_more_than_its_grants(database, statement):
    async def test(made):
        wanted = lease("remit_least")
        minted = await made.mint(wanted)

        def refused():
            with psycopg.connect(**minted.parts) as db:
                assert db.execute("SELECT id, name FROM billing.customers").fetchall() == [(1, "acme")]
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.execute(statement)

        await asyncio.to_thread(refused)
        await made.kill(wanted)

    on(database, test)


def test_the_kill_ends_a_live_session_and_what_it_was_about_to_do(database):
    async def test(made):
        wanted = lease("remit_live", {"tables": [{"name": "billing.salaries", "privileges": ["select", "insert"]}]})
        minted = await made.mint(wanted)

        def at_work():
            session = psycopg.connect(**minted.parts)
            session.execute("INSERT INTO billing.salaries VALUES (1)")
            return session

        session = await asyncio.to_thread(at_work)
        await made.kill(wanted)
        with pytest.raises(psycopg.Error):
            await asyncio.to_thread(session.commit)
        assert pg.as_admin(database, "SELECT * FROM billing.salaries") == []
        assert "remit_live" not in roles(database)

    on(database, test)


def test_a_role_is_dead_at_its_time_even_if_nobody_kills_it(database):
    async def test(made):
        wanted = lease("remit_brief", seconds=1.0)
        minted = await made.mint(wanted)
        await asyncio.sleep(1.1)
        with pytest.raises(psycopg.OperationalError):
            await asyncio.to_thread(psycopg.connect, **minted.parts)
        await made.kill(wanted)

    on(database, test)


def test_no_password_reaches_the_servers_log(database):
    async def test(made):
        wanted = lease("remit_canary")
        minted = await made.mint(wanted)
        await asyncio.to_thread(lambda: psycopg.connect(**minted.parts).close())
        await made.kill(wanted)
        text = database.log.read_text()
        assert "remit_canary" in text and "SCRAM-SHA-256$" in text
        assert minted.parts["password"] not in text

    on(database, test)


def test_hostile_names_are_names(database):
    async def test(made):
        grants = {"tables": [{"name": 'billing.odd "name; DROP TABLE x', "privileges": ["select"]}]}
        wanted = lease("remit_odd", grants)
        minted = await made.mint(wanted)

        def read():
            with psycopg.connect(**minted.parts) as db:
                db.execute('SELECT * FROM billing."odd ""name; DROP TABLE x"')

        await asyncio.to_thread(read)
        await made.kill(wanted)
        for handle in ("postgres", "remit_x; DROP ROLE boss", "remit_", "REMIT_X", "remit_" + "a" * 60):
            with pytest.raises(WrongState):
                await made.mint(lease(handle))
            with pytest.raises(WrongState):
                await made.kill(lease(handle))
        with pytest.raises(IssuerUnavailable):
            await made.mint(lease("remit_missing", {"tables": [{"name": "billing.nothing", "privileges": ["select"]}]}))
        assert "remit_missing" not in roles(database)  # half a role never exists

    on(database, test)


def test_a_server_that_is_gone_is_unavailable_and_kills_resume(run):
    with PostgresServer() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as db:
            db.execute("CREATE SCHEMA billing; CREATE TABLE billing.customers (id int, name text)")
        made = pg.issuer(server, "admin", "admin-password")

        async def first():
            await made.mint(lease("remit_kept"))
            await made.close()

        run(first())

    async def gone():
        with pytest.raises(IssuerUnavailable) as refused:
            await pg.issuer(server, "admin", "admin-password").kill(lease("remit_kept"))
        assert "admin-password" not in str(refused.value) + refused.value.inside

    run(gone())


def test_a_scram_verifier_is_as_in_rfc_7677():
    """Salt, iterations and password of RFC 7677 section 3; the verifier that PostgreSQL keeps for them."""
    import base64

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    text = verifier("pencil", salt, 4096)
    assert text == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
