"""Connections, against a real authorization server on loopback: made once, lent to one mint at a time, ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from remit.domain.caller import CallerKind
from remit.domain.connection import Connection, ConnectionState
from remit.domain.errors import (
    Absent,
    BadField,
    BadToken,
    Conflict,
    Denied,
    IssuerUnavailable,
    StoreUnavailable,
    WrongState,
)
from remit.domain.lease import Lease, LeaseState
from remit.formats import rfc6749
from remit.formats.rfc6749 import authorization_url
from remit.issuers.keyring import RootSealer
from remit.store.memory import MemoryStore
from remit.store.replay import replay
from remit.testing.store import FaultyStore
from remit.verbs import connect, renew
from remit.verbs.apply import apply
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from remit.verbs.rewrap import rewrap
from remit.work.end_leases import end_leases
from remit.work.tend_connections import tend_connections
from tests.oauth_house import REDIRECT, AuthorizationServer, NotesServer, connected_world, oauth_world


@pytest.fixture(scope="module")
def house():
    theirs = AuthorizationServer()
    notes = NotesServer(theirs)
    yield theirs, notes
    notes.close()
    theirs.close()


@pytest.fixture(autouse=True)
def clean(house):
    accounts = house[0].accounts
    accounts.__dict__.update(type(accounts)(issuer=accounts.issuer, clients=accounts.clients).__dict__)
    house[0].said.clear()


def operator(w):
    return w.call(CallerKind.OPERATOR, "op")


async def row_of(w):
    return await w.store.get(Connection, "crm")


async def grant_of(w):
    row = await row_of(w)
    return rfc6749.grant(w.env.sealer.unseal(row.envelope, row.context))


async def begun(w):
    return await connect.begin(w.env, operator(w), "crm", REDIRECT)


async def agreed(theirs, attempt):
    return await asyncio.to_thread(theirs.agreed, authorization_url(attempt))


async def task_for(w):
    _, bot = await w.proved()
    task = await propose(w.env, bot, Proposal("notes", "goal", {}))
    return task, w.call(CallerKind.ENFORCER, "gate")


def token_requests(theirs):
    return [parse_qs(b"".join(body).decode()) for _, path, _, body in theirs.said if path == "/token"]


def test_connected_once_each_task_gets_a_token_of_its_own(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        row = await row_of(w)
        assert row.state is ConnectionState.CONNECTED and row.scopes == ("notes.read",) and not row.attempt
        assert row.connected_by == "operator:op" and row.authorization_server == theirs.url
        assert theirs.accounts.live() == []  # what came with the code is nobody's, and was revoked
        first, gate = await task_for(w)
        second, _ = await task_for(w)
        minted = [(await issue(w.env, gate, task.id, "crm"))[1] for task in (first, second)]
        tokens = [one.parts["access_token"] for one in minted]
        assert sorted(theirs.accounts.live()) == sorted(tokens) and len(set(tokens)) == 2
        names = w.events()
        order = [
            "ConnectionBegun",
            "ConnectionAnswered",
            "ConnectionMade",
            "GrantTaken",
            "GrantReturned",
            "LeaseMinted",
        ]
        assert [names.index(name) for name in order] == sorted(names.index(name) for name in order)
        secrets = {*theirs.accounts.grants, *tokens, *(c.client_secret for c in theirs.accounts.clients.values())}
        kept = repr([leaf for leaf, _ in w.store._events]) + repr(await w.store.find(Connection, {}))
        assert not any(secret in kept for secret in secrets if secret)
        assert await replay(w.store) == []
        form = token_requests(theirs)[0]
        assert form["resource"] == [notes.resource] and form["grant_type"] == ["authorization_code"]

    run(main())


def test_what_cannot_be_connected_says_so(house, run):
    theirs, notes = house

    async def main():
        own = (
            f'[issuers.own]\nkind = "oauth"\ngrant = "client_credentials"\nresource = "{notes.resource}"\n'
            f'authorization_server = "{theirs.url}"\nclient_id = "x"\n'
        )
        w = await connected_world(theirs, notes, others=own)
        with pytest.raises(WrongState, match="connected") as refused:
            await begun(w)
        assert "remit issuer disconnect crm" in refused.value.next_step
        for name, kind in (("nothing", Absent), ("pg", BadField), ("own", WrongState)):
            with pytest.raises(kind):
                await connect.begin(w.env, operator(w), name, REDIRECT)
        for redirect in ("https://evil.example/callback", "http://127.0.0.1/callback", "http://127.0.0.1:99999/x", ""):
            fresh = await oauth_world(notes.resource)
            with pytest.raises(BadField):
                await connect.begin(fresh.env, operator(fresh), "crm", redirect)
        with pytest.raises(Absent):
            await connect.disconnect(w.env, operator(w), "pg", "")
        with pytest.raises(WrongState):
            await connect.answer(w.env, operator(w), "pg", REDIRECT)

    run(main())


def test_a_state_is_guessed_reused_or_late_in_vain(house, run):
    theirs, notes = house

    async def main():
        w = await oauth_world(notes.resource)
        _, attempt = await begun(w)
        back = await agreed(theirs, attempt)
        for wrong in (
            back.replace(attempt.state, "A" * 43),
            back.replace("state=", "other="),
            back + "&state=" + attempt.state,
            back.replace("127.0.0.1:8400", "127.0.0.1:8401"),
            back.replace("http://", "javascript://"),
            back + "#x",
            REDIRECT + "?state=%FF",
            REDIRECT + "?state=" + attempt.state + "&iss=" + theirs.url,
            "x" * 9000,
        ):
            with pytest.raises(BadField):
                await connect.answer(w.env, operator(w), "crm", wrong)
        assert not token_requests(theirs)  # nothing was sent anywhere, and the attempt is still good
        await connect.answer(w.env, operator(w), "crm", back)
        with pytest.raises(WrongState):
            await connect.answer(w.env, operator(w), "crm", back)
        late = await oauth_world(notes.resource)
        _, attempt = await begun(late)
        back = await agreed(theirs, attempt)
        late.clock.advance(600_001)
        with pytest.raises(WrongState, match="Nobody is connecting"):
            await connect.answer(late.env, operator(late), "crm", back)

    run(main())


def test_of_two_answers_at_once_one_uses_the_code(house, run):
    theirs, notes = house

    async def main():
        w = await oauth_world(notes.resource)
        _, attempt = await begun(w)
        back = await agreed(theirs, attempt)
        answers = (connect.answer(w.env, operator(w), "crm", back) for _ in range(8))
        found = await asyncio.gather(*answers, return_exceptions=True)
        assert sum(isinstance(one, Connection) for one in found) == 1
        assert all(isinstance(one, Connection | Conflict | WrongState) for one in found)
        codes = [form for form in token_requests(theirs) if form["grant_type"] == ["authorization_code"]]
        assert len(codes) == 1

    run(main())


def test_an_older_attempt_is_void_when_a_newer_was_begun(house, run):
    theirs, notes = house

    async def main():
        w = await oauth_world(notes.resource)
        _, older = await begun(w)
        back = await agreed(theirs, older)
        await begun(w)
        with pytest.raises(BadField, match="state"):
            await connect.answer(w.env, operator(w), "crm", back)

    run(main())


def test_a_code_of_one_server_is_never_sent_to_another(house, run):
    """Mix-up (RFC 9207): the person was sent to one server, and the answer comes from another, or says nobody's name."""
    theirs, notes = house
    evil = AuthorizationServer()

    async def main():
        w = await oauth_world(notes.resource)
        _, attempt = await begun(w)
        good = await agreed(theirs, attempt)
        code = parse_qs(urlsplit(good).query)["code"][0]
        for said in (f"&iss={evil.url}", "", f"&iss={theirs.url}/", f"&iss={theirs.url.upper()}"):
            mixed = f"{REDIRECT}?code={code}&state={attempt.state}{said}"
            with pytest.raises(BadField, match="iss"):
                await connect.answer(w.env, operator(w), "crm", mixed)
        assert not token_requests(evil) and not token_requests(theirs)

    try:
        run(main())
    finally:
        evil.close()


def test_a_person_who_says_no_is_heard_and_the_attempt_is_over(house, run):
    theirs, notes = house

    async def main():
        w = await oauth_world(notes.resource)
        theirs.accounts.refuses = "access_denied"
        _, attempt = await begun(w)
        back = await agreed(theirs, attempt)
        with pytest.raises(Denied, match="access_denied"):
            await connect.answer(w.env, operator(w), "crm", back)
        with pytest.raises(WrongState):
            await connect.answer(w.env, operator(w), "crm", back)
        odd = back.replace("access_denied", "%3Cscript%3E")
        _, attempt = await begun(w)
        with pytest.raises(Denied, match=r"said error\."):
            await connect.answer(
                w.env, operator(w), "crm", odd.replace(parse_qs(urlsplit(odd).query)["state"][0], attempt.state)
            )

    run(main())


def test_a_code_that_is_refused_or_a_grant_without_refresh_connects_nothing(house, run):
    theirs, notes = house

    async def main():
        w = await oauth_world(notes.resource)
        _, attempt = await begun(w)
        back = await agreed(theirs, attempt)
        theirs.accounts.codes.clear()
        with pytest.raises(IssuerUnavailable, match="invalid_grant"):
            await connect.answer(w.env, operator(w), "crm", back)
        assert (await row_of(w)).state is ConnectionState.NEW

    run(main())


# --- lending ---


def test_many_mints_at_once_use_a_rotating_grant_one_after_another(house, run):
    """The server ends a grant whose refresh token comes twice: twenty at once, and it is still there."""
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        made = [await task_for(w) for _ in range(20)]
        found = await asyncio.gather(*(issue(w.env, gate, task.id, "crm") for task, gate in made))
        assert len({minted.parts["access_token"] for _, minted in found}) == 20
        assert not theirs.accounts.ended and (await grant_of(w)).refresh_token in theirs.accounts.refresh
        row = await row_of(w)
        assert row.state is ConnectionState.CONNECTED and not row.taken_by

    run(main())


def test_whoever_crashes_while_using_it_blocks_nobody_for_long(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        await renew._take(w.env, "crm", "lse_dead", w.clock.now)
        task, gate = await task_for(w)
        with pytest.raises(IssuerUnavailable, match="in use"):
            await renew.renew(w.env, "crm", "lse_next", w.clock.now, None)
        w.clock.advance(renew.TAKEN_FOR)
        await issue(w.env, replace(gate, now=w.clock.now), task.id, "crm")

    run(main())


@pytest.mark.parametrize("fault", ["lost", "persisted"])
def test_a_rotated_token_is_kept_before_anybody_has_what_came_with_it(house, run, fault):
    theirs, notes = house

    async def main():
        store = FaultyStore(MemoryStore())
        w = await connected_world(theirs, notes, store=store)
        before = (await grant_of(w)).refresh_token
        task, gate = await task_for(w)
        store.faults = ["", "", fault, *(["lost"] if fault == "lost" else [])]  # reserve, take, return …
        await issue(w.env, gate, task.id, "crm")
        after = (await grant_of(w)).refresh_token
        assert after != before and after in theirs.accounts.refresh
        assert await replay(store.inner) == []

    run(main())


def test_what_could_not_be_kept_is_not_handed_out(house, run):
    theirs, notes = house

    async def main():
        store = FaultyStore(MemoryStore())
        w = await connected_world(theirs, notes, store=store)
        task, gate = await task_for(w)
        store.faults = ["", "", *["lost"] * 1000]
        asked = asyncio.create_task(issue(w.env, gate, task.id, "crm"))
        while len(store.faults) > 990:
            await asyncio.sleep(0.01)
        w.clock.advance(renew.TAKEN_FOR + 1)
        await asyncio.sleep(0.1)
        store.faults = []
        with pytest.raises(StoreUnavailable):
            await asked

    run(main())


def test_a_store_that_cannot_be_read_is_asked_again(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        taken = await renew._take(w.env, "crm", "lse_1", w.clock.now)
        grant, get, failing = await grant_of(w), w.store.get, [2]

        async def flaky(kind, key):
            if failing[0]:
                failing[0] -= 1
                raise StoreUnavailable("The store failed.")
            return await get(kind, key)

        w.store.get = flaky
        await renew._return(w.env, taken, grant, replace(grant, refresh_token="rt-next"), "")
        assert (await grant_of(w)).refresh_token == "rt-next"
        failing[0] = 10**6
        w.clock.advance(renew.TAKEN_FOR)
        with pytest.raises(StoreUnavailable):
            await renew._return(w.env, taken, grant, grant, "")

    run(main())


def test_who_hangs_up_loses_the_token_and_not_the_grant(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        entered, go = asyncio.Event(), asyncio.Event()

        async def use(grant):
            entered.set()
            await go.wait()
            return replace(grant, refresh_token="rt-fresh"), None

        waiting = asyncio.create_task(renew.renew(w.env, "crm", "lse_1", w.clock.now, use))
        await entered.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        while (await row_of(w)).taken_by:
            await asyncio.sleep(0.001)
        assert (await grant_of(w)).refresh_token == "rt-fresh"

    run(main())


def test_who_comes_back_late_does_not_put_an_old_grant_over_a_newer_one(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        first = await renew._take(w.env, "crm", "lse_1", w.clock.now)
        grant = await grant_of(w)
        w.clock.advance(renew.TAKEN_FOR)
        second = await renew._take(w.env, "crm", "lse_2", w.clock.now)
        await renew._return(w.env, second, grant, replace(grant, refresh_token="rt-two"), "")
        await renew._return(w.env, first, grant, replace(grant, refresh_token="rt-one"), "")
        assert (await grant_of(w)).refresh_token == "rt-two"
        # The other way round: who was told that it is lost learns that it is not.
        third = await renew._take(w.env, "crm", "lse_3", w.clock.now)
        w.clock.advance(renew.TAKEN_FOR)
        fourth = await renew._take(w.env, "crm", "lse_4", w.clock.now)
        grant = await grant_of(w)
        await renew._return(w.env, fourth, grant, grant, "invalid_grant")
        assert (await row_of(w)).state is ConnectionState.LOST
        await renew._return(w.env, third, grant, replace(grant, refresh_token="rt-three"), "")
        assert (await row_of(w)).state is ConnectionState.CONNECTED
        assert (await grant_of(w)).refresh_token == "rt-three"

    run(main())


def test_a_take_that_loses_a_race_looks_again(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        commit, raced = w.store.commit, []

        async def racing(change):
            if not raced:
                raced.append(1)
                raise Conflict("moved")
            return await commit(change)

        w.store.commit = racing
        taken = await renew._take(w.env, "crm", "lse_1", w.clock.now)
        raced.clear()
        grant = await grant_of(w)
        await renew._return(w.env, taken, grant, grant, "")
        assert not (await row_of(w)).taken_by

    run(main())


def test_a_grant_that_was_taken_back_there_is_lost_here_in_sight(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        for grant in set(theirs.accounts.grants.values()):
            theirs.accounts.end(grant)
        task, gate = await task_for(w)
        with pytest.raises(IssuerUnavailable, match="invalid_grant") as refused:
            await issue(w.env, gate, task.id, "crm")
        assert "remit issuer connect crm" in refused.value.next_step
        row = await row_of(w)
        assert row.state is ConnectionState.LOST and row.reason == "invalid_grant" and "ConnectionLost" in w.events()
        asked = len(token_requests(theirs))
        with pytest.raises(IssuerUnavailable, match="connected no more"):
            await issue(w.env, gate, task.id, "crm")
        assert len(token_requests(theirs)) == asked
        _, attempt = await begun(w)
        await connect.answer(w.env, operator(w), "crm", await agreed(theirs, attempt))
        await issue(w.env, gate, task.id, "crm")

    run(main())


# --- the end ---


def test_disconnected_the_leases_die_first_and_then_the_grant(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        task, gate = await task_for(w)
        await issue(w.env, gate, task.id, "crm")
        await connect.disconnect(w.env, operator(w), "crm", "over")
        with pytest.raises(IssuerUnavailable, match="connected no more"):
            await renew.renew(w.env, "crm", "lse_1", w.clock.now, None)
        for _ in range(6):
            await tend_connections(w.env, w.clock.now)
            await end_leases(w.env, w.clock.now)
        row = await row_of(w)
        assert row.state is ConnectionState.ENDED and not row.envelope and not row.due
        assert not theirs.accounts.live() and not theirs.accounts.refresh
        assert {one.state for one in await w.store.find(Lease, {})} <= {LeaseState.ENDED, LeaseState.ENDING}
        names = w.events()
        assert names.index("ConnectionEnding") < names.index("LeaseEnding") < names.index("ConnectionEnded")
        with pytest.raises(WrongState):
            await connect.disconnect(w.env, operator(w), "crm", "again")
        _, attempt = await begun(w)
        assert attempt.resource == notes.resource

    run(main())


def test_a_mint_in_flight_while_disconnecting_leaves_no_newer_grant_behind(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        taken, grant = await renew._take(w.env, "crm", "lse_1", w.clock.now), await grant_of(w)
        await connect.disconnect(w.env, operator(w), "crm", "over")
        assert await tend_connections(w.env, w.clock.now) == 0  # somebody has it: wait for the newest
        client = theirs.accounts.clients[grant.client.id]
        old = await theirs.accounts.load_refresh_token(client, grant.refresh_token)
        fresh = await theirs.accounts.exchange_refresh_token(client, old, ["notes.read"])
        await renew._return(w.env, taken, grant, replace(grant, refresh_token=fresh.refresh_token), "")
        assert await tend_connections(w.env, w.clock.now) == 1
        assert not theirs.accounts.refresh and (await row_of(w)).state is ConnectionState.ENDED
        await renew._return(w.env, taken, grant, grant, "")  # and whoever comes even later finds nothing

    run(main())


def test_a_lost_grant_stays_ending_when_it_is_ended(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        taken, grant = await renew._take(w.env, "crm", "lse_1", w.clock.now), await grant_of(w)
        await connect.disconnect(w.env, operator(w), "crm", "over")
        await renew._return(w.env, taken, grant, grant, "invalid_grant")
        assert (await row_of(w)).state is ConnectionState.ENDING

    run(main())


def test_an_end_that_is_not_confirmed_is_tried_again_and_seen(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        await connect.disconnect(w.env, operator(w), "crm", "over")
        clients, theirs.accounts.clients = theirs.accounts.clients, {}  # it no longer knows us
        for delay in (1, 2, 4):
            assert await tend_connections(w.env, w.clock.now) == 1
            row = await row_of(w)
            assert row.state is ConnectionState.ENDING and row.retry_at == w.clock.now + delay * 1000 == row.due
            assert await tend_connections(w.env, w.clock.now) == 0
            w.clock.advance(delay * 1000)
        theirs.accounts.clients = clients
        assert await tend_connections(w.env, w.clock.now) == 1
        assert (await row_of(w)).state is ConnectionState.ENDED and "ConnectionEndFailed" in w.events()

    run(main())


def test_an_issuer_that_left_the_catalogue_is_ended_when_it_is_back(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        await connect.disconnect(w.env, operator(w), "crm", "over")
        gone = {k: v for k, v in w.files.items() if k != "purposes/notes.toml"}
        gone["remit.toml"] = gone["remit.toml"].partition("[issuers.crm]")[0]
        await apply(w.env, operator(w), gone)
        await tend_connections(w.env, w.clock.now)
        assert (await row_of(w)).state is ConnectionState.ENDING
        await apply(w.env, operator(w), w.files)
        w.clock.advance(1000)
        await tend_connections(w.env, w.clock.now)
        assert (await row_of(w)).state is ConnectionState.ENDED

    run(main())


def test_a_server_without_revocation_is_said_to_be_one(house, run):
    theirs, notes = house
    revocation = theirs.metadata.pop("revocation_endpoint")

    async def main():
        w = await connected_world(theirs, notes)
        await connect.disconnect(w.env, operator(w), "crm", "over")
        await tend_connections(w.env, w.clock.now)
        assert (await row_of(w)).state is ConnectionState.ENDED
        ended = next(msgspec.json.decode(leaf) for leaf, _ in w.store._events[::-1])
        assert ended["type"] == "ConnectionEnded" and ended["data"]["revoked"] is False

    try:
        run(main())
    finally:
        theirs.metadata["revocation_endpoint"] = revocation


def test_a_new_root_key_reaches_the_grant_while_it_is_lent(house, run):
    theirs, notes = house

    async def main():
        w = await connected_world(theirs, notes)
        taken, grant = await renew._take(w.env, "crm", "lse_1", w.clock.now), await grant_of(w)
        both = replace(w.env, sealer=RootSealer(b"n" * 32, b"r" * 32))
        found = await rewrap(both, operator(w))
        assert found.done and not found.unopened
        await renew._return(both, taken, grant, replace(grant, refresh_token="rt-new"), "")
        row = await row_of(w)
        alone = RootSealer(b"n" * 32)
        assert rfc6749.grant(alone.unseal(row.envelope, row.context)).refresh_token == "rt-new"
        with pytest.raises(BadToken):
            w.env.sealer.unseal(row.envelope, row.context)

    run(main())


def test_states_have_no_other_arrows():
    row = Connection("crm", ConnectionState.CONNECTED, "e")
    with pytest.raises(WrongState):
        row.ended()
    assert row.free_at(0) and not row.taken("l", 5).free_at(4) and row.taken("l", 5).free_at(5)
