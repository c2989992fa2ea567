"""One suite for every issuer (see `rigs`), then what is special about PostgreSQL, on a real server."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from importlib import import_module

import psycopg
import pytest

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, NotRecallable, WrongState
from remit.domain.restore import orphan
from remit.issuers import KINDS, Tools, build
from remit.issuers.scram import verifier
from remit.ports import Lists
from remit.testing.postgres import PostgresServer
from tests.world import world

from . import pg
from .pg import lease, on, roles

RIGS = {kind: import_module(f"tests.issuers.rigs.{kind}") for kind in ("fake", *KINDS)}


@pytest.fixture(params=RIGS)
def rig(request):
    """A rig of each kind."""
    found = asyncio.run(RIGS[request.param].rig(request))
    yield found
    found.close()


async def closed(issuer):
    if hasattr(issuer, "close"):
        await issuer.close()


def test_what_is_minted_works_and_what_is_killed_does_not(rig, run):
    async def alive(minted):
        return rig.alive is None or await asyncio.to_thread(rig.alive, minted)

    async def main():
        minted = await rig.issuer.mint(rig.lease)
        said = f"{minted!r} {minted}"
        assert minted.parts and not any(len(part) > 3 and part in said for part in minted.parts.values())
        assert await alive(minted)
        settled = rig.lease.known_as(minted.reference)
        for unwanted in (settled, settled, replace(settled, handle="remit_never")):
            if rig.recallable:
                await rig.issuer.kill(unwanted)
            else:
                with pytest.raises(NotRecallable) as lives_on:
                    await rig.issuer.kill(unwanted)
                assert rig.lease.expires_at <= lives_on.value.until <= rig.lease.expires_at + 7_200_000
        if rig.recallable and not rig.introspected:
            assert rig.alive is None or not await alive(minted)
        await closed(rig.issuer)

    run(main())


@pytest.mark.parametrize("rig", ["fake", "postgres", "redis", "openbao"], indirect=True)
def test_what_an_issuer_lists_is_what_lives_there_under_our_names(rig, run):
    async def main():
        assert isinstance(rig.issuer, Lists)
        held = replace(rig.lease, handle="remit_" + "a1" * 16)
        before = set(await rig.issuer.listed())
        minted = await rig.issuer.mint(held)
        assert set(await rig.issuer.listed()) - before == {rig.issuer.name(held)}
        # All that a restore knows of an orphan is its name.
        await rig.issuer.kill(orphan("lse_1", held.issuer, rig.issuer.name(held), held.reserved_at))
        assert set(await rig.issuer.listed()) == before
        assert rig.alive is None or rig.introspected or not await asyncio.to_thread(rig.alive, minted)
        await closed(rig.issuer)

    run(main())


@pytest.mark.parametrize("rig", [kind for kind, found in RIGS.items() if found.BACKSTOP], indirect=True)
def test_the_server_itself_refuses_at_the_end_when_nobody_kills(rig, run, request):
    life = RIGS[request.node.callspec.params["rig"]].BACKSTOP

    async def main():
        brief = replace(rig.lease, handle="remit_brief", expires_at=int((time.time() + life) * 1000))
        minted = await rig.issuer.mint(brief)
        await closed(rig.issuer)
        await asyncio.sleep(life + 1.1)
        assert not await asyncio.to_thread(rig.alive, minted)

    run(main())


def test_a_server_that_is_not_there_is_unavailable_in_bounded_time(rig, run):
    async def main():
        if rig.unreachable is None:  # it asks nobody
            return
        async with asyncio.timeout(25):
            for act in (rig.unreachable.mint, rig.unreachable.kill):
                with pytest.raises(IssuerUnavailable):
                    await act(rig.lease)
        await closed(rig.unreachable)

    run(main())


def bad(what):
    """(kind, …) of every rig's list."""
    rows = [(kind, row) for kind in KINDS for row in getattr(RIGS[kind], what)]
    return pytest.mark.parametrize(("kind", "row"), rows, ids=str)


@bad("BAD_GRANTS")
def test_grants_an_issuer_cannot_mint_are_refused(kind, row):
    settings = RIGS[kind].SETTINGS
    with pytest.raises(BadField):
        build(IssuerConfig("x", kind, settings), Tools(None, None, None, "https://remit.test", {})).checked(row)


@bad("BAD_SETTINGS")
def test_configuration_that_is_wrong_says_so(kind, row):
    settings, words = row
    with pytest.raises(BadField) as refused:
        build(IssuerConfig("x", kind, settings), Tools(None, None, None, "https://remit.test", {}))
    assert words in refused.value.message


def test_a_kind_that_is_not_known_names_the_nearest():
    with pytest.raises(BadField, match="did you mean 'postgres'"):
        build(IssuerConfig("x", "postgress"), Tools(None, None, None, "", {}))


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
