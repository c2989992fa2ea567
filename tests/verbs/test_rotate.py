"""Rotation of signing keys: overlap, replicas, compromise, and crashes between its steps."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain.caller import CallerKind
from remit.domain.errors import BadField, BadToken, Busy, Conflict, ProofInvalid, StoreUnavailable, WrongState
from remit.domain.keys import ROTATED, KeyState, KeyTurn, Rotation, SigningKey
from remit.formats import jwk, rfc9068, spiffe, x509_svid
from remit.formats.tlog import note_key, parse_checkpoint
from remit.issuers.keyring import Keyring, RootSealer
from remit.store.replay import replay
from remit.testing.store import FaultyStore
from remit.verbs.certify import Entitled, Workload, certify_jwt, certify_x509
from remit.verbs.rotate import begin, listed, replace_now, rotate
from remit.verbs.vouch import vouch
from remit.work.rotate_keys import rotate_keys
from remit.work.sequence import sequence
from tests.world import world

TIMES = Rotation(after=100_000, overlap=10_000, retention=700_000, log_retention=3_000_000)


async def rotating(store=None):
    w = await world(store)
    w.env = replace(w.env, rotation=TIMES)
    w.clock.advance(1)
    return w, w.call(CallerKind.OPERATOR, "op")


async def replica(w):
    """Another process on the same store."""
    keyring = await Keyring.open(w.store, RootSealer(b"r" * 32), w.clock.now)
    return replace(w.env, signer=keyring)


def kids(env, use="token"):
    return [key["kid"] for key in env.signer.public(use)]


def verified(env, text, now):
    keys = [jwk.parse(key) for key in env.signer.public("token")]
    return rfc9068.parse(text, issuer=env.issuer_url, audience=env.issuer_url, keys=keys, now=now)


@pytest.mark.parametrize("use", ROTATED)
def test_the_next_key_is_published_signs_and_the_old_one_goes(run, use):
    async def main():
        w, call = await rotating()
        await begin(w.env, replace(call, now=call.now - 1), use)  # most of them are there from the start
        old = w.env.signer.signing(use)
        row = await rotate(w.env, call, use)
        assert (await rotate(w.env, call, use)).kid == row.kid
        assert kids(w.env, use) == [row.kid, old]
        assert w.env.signer.signing(use) == old
        w.clock.advance(TIMES.overlap - 1)
        assert not await rotate_keys(w.env, w.clock.now)
        assert w.env.signer.signing(use) == old
        w.clock.advance(1)
        assert await rotate_keys(w.env, w.clock.now)
        assert w.env.signer.signing(use) == row.kid and kids(w.env, use) == [row.kid, old]
        w.env = replace(w.env, rotation=replace(TIMES, after=10**12))
        w.clock.advance(TIMES.of(use).retention - 1)
        assert not await rotate_keys(w.env, w.clock.now)
        assert await sealed(w, old)
        w.clock.advance(1)
        assert await rotate_keys(w.env, w.clock.now)
        assert kids(w.env, use) == [row.kid] and await sealed(w, old) == ""
        with pytest.raises(StoreUnavailable):
            w.env.signer.sign(use, b"x", old)
        assert [key.state for key in await listed(w.env) if key.use == use] == [KeyState.CURRENT, KeyState.RETIRED]
        assert await replay(w.store) == []

    run(main())


def test_a_key_that_few_houses_need_is_made_when_it_is(run):
    async def main():
        w, call = await rotating()
        assert w.env.signer.signing("signal") == "" and kids(w.env, "signal") == []
        with pytest.raises(WrongState):
            await rotate(w.env, call, "signal")
        other = await replica(w)
        await asyncio.gather(begin(w.env, call, "signal"), begin(other, call, "signal"))
        await begin(other, call, "signal")
        await other.signer.refresh()
        assert kids(w.env, "signal") == kids(other, "signal") == [w.env.signer.signing("signal")]

    run(main())


def test_keys_rotate_by_themselves_by_age_and_every_token_verifies_for_its_whole_life(run):
    async def main():
        w, _ = await rotating()
        other = await replica(w)
        signed, seen = [], set()
        for i in range(150):
            identity, call = await w.proved()
            env = (w.env, other)[i % 2]
            text, token = await vouch(env, call, identity)
            signed.append((text, token.expires_at))
            seen.add(env.signer.signing("token"))
            w.clock.advance(7_000)
            await rotate_keys((w.env, other)[i % 3 == 0], w.clock.now)
            await other.signer.refresh()
            for old, expires_at in signed:
                if w.clock.now < expires_at:
                    for verifier in (w.env, other):
                        verified(verifier, old, w.clock.now)
        assert len(seen) >= 9

    run(main())


def test_two_processes_rotating_at_once_make_one_key(run):
    async def main():
        w, call = await rotating()
        envs = [w.env, *[await replica(w) for _ in range(5)]]
        rows = await asyncio.gather(*(rotate(env, call, "token") for env in envs))
        assert len({row.kid for row in rows}) == 1
        w.clock.advance(TIMES.overlap)
        await asyncio.gather(*(rotate_keys(env, w.clock.now) for env in envs))
        keys = [key for key in await listed(w.env) if key.use == "token"]
        assert [key.state for key in keys] == [KeyState.CURRENT, KeyState.RETIRING]

    run(main())


@pytest.mark.parametrize("point", ["create", "promote", "retire"])
def test_a_race_lost_changes_nothing(run, point):
    async def main():
        w, call = await rotating()
        if point != "create":
            await rotate(w.env, call, "svid")
            w.clock.advance(TIMES.overlap)
        if point == "retire":
            await rotate_keys(w.env, w.clock.now)
            w.env = replace(w.env, rotation=replace(TIMES, after=10**12))
        w.clock.advance(TIMES.after if point == "create" else TIMES.retention)
        before, commit = await listed(w.env), w.store.commit

        async def lost(change):
            raise Conflict("somebody was faster")

        w.store.commit = lost
        assert not await rotate_keys(w.env, w.clock.now)
        assert await listed(w.env) == before
        with pytest.raises(Busy):
            await replace_now(w.env, call, "svid", "lost laptop")
        if point == "create":
            with pytest.raises(Busy):
                await rotate(w.env, call, "svid")
        w.store.commit = commit
        assert await rotate_keys(w.env, w.clock.now)

    run(main())


def test_what_a_destroyed_key_signed_is_refused_everywhere(run):
    async def main():
        w, call = await rotating()
        other = await replica(w)
        await rotate(w.env, call, "token")
        identity, agent = await w.proved()
        text, _ = await vouch(w.env, agent, identity)
        old = kids(w.env)
        row, destroyed = await replace_now(w.env, call, "token", "lost laptop")
        assert {key.kid for key in destroyed} == set(old) and kids(w.env) == [row.kid] and len(old) == 2
        assert [await sealed(w, kid) for kid in old] == ["", ""]
        with pytest.raises(BadToken):
            verified(w.env, text, w.clock.now)
        assert w.env.signer.signing("token") == row.kid
        new, _ = await vouch(w.env, agent, identity)
        with pytest.raises(BadToken):
            verified(other, new, w.clock.now)
        await other.signer.refresh(knows=rfc9068.claimed_key(new))
        verified(other, new, w.clock.now)
        with pytest.raises(BadToken):
            verified(other, text, w.clock.now)

    run(main())


def test_spiffe_documents_are_signed_by_the_current_key_and_the_bundle_shows_the_next(run):
    async def main():
        w, call = await rotating()
        agent = (await w.env.in_force())[1].catalogue.agents["bot"]
        from remit.domain.identity import SpiffeId

        of = Entitled(agent, agent.attestations[0], SpiffeId(w.env.trust_domain, "/agent/bot"))
        workload = Workload(frozenset(), "c" * 64)
        first = await w.env.own_bundle()
        await rotate(w.env, call, "authority")
        await rotate(w.env, call, "svid")
        both = await w.env.own_bundle()
        assert len(both.authorities) == len(both.jwt_keys) == 2 and both.sequence > first.sequence

        async def fits(bundle):
            document = await certify_x509(w.env, w.call(), workload, of)
            domain, now = w.env.trust_domain, w.clock.now
            try:
                x509_svid.parse([document.certificate], trust_domain=domain, authorities=bundle.authorities, now=now)
            except BadToken:
                return False
            token = (await certify_jwt(w.env, w.call(), workload, of, ["https://a.example"])).token
            spiffe.parse_jwt_svid(token, bundle=bundle, audience=["https://a.example"], now=now)
            return True

        assert await fits(first), "whoever has only read the first bundle still verifies"
        w.clock.advance(TIMES.overlap)
        assert await rotate_keys(w.env, w.clock.now)
        assert await fits(both) and not await fits(first)
        await replace_now(w.env, call, "authority", "stolen")
        last = await w.env.own_bundle(kid="nobody-has-this")
        assert len(last.authorities) == 1 and last.sequence > both.sequence and not await fits(both)

    run(main())


def test_a_bundle_is_of_one_sequence_even_while_keys_turn(run):
    async def main():
        w, call = await rotating()
        await w.env.own_bundle()
        await rotate(w.env, call, "svid")
        get, once = w.store.get, [True]

        async def turning(kind, key):
            found = await get(kind, key)
            if kind is KeyTurn and key == "authority" and once:
                once.clear()
                await rotate(w.env, call, "authority")
            return found

        w.store.get = turning
        bundle = await w.env.own_bundle()
        turns = [(await get(KeyTurn, use)).turns for use in ("svid", "authority")]
        assert bundle.sequence == sum(turns) and len(bundle.authorities) == 2

    run(main())


def test_unknown_uses_are_refused_in_words(run):
    async def main():
        w, call = await rotating()
        for use in ("", "tokens"):
            for attempt in (rotate(w.env, call, use), replace_now(w.env, call, use, "r")):
                with pytest.raises(BadField, match="must be one of"):
                    await attempt

    run(main())


def test_the_logs_key_is_replaced_only_on_command_and_both_sign_until_whoever_pinned_the_old_one_has_had_time(run):
    async def main():
        w, call = await rotating()
        old = note_key("log", w.env.signer.public("log")[0])

        async def head():
            await w.proved()
            await sequence(w.store, w.env.signer, "log")
            return (await w.store.head())[1]

        w.clock.advance(TIMES.after * 100)
        assert old.public == note_key("log", w.env.signer.public("log")[0]).public  # never by its age
        await rotate(w.env, call, "log")
        new = note_key("log", w.env.signer.public("log")[0])
        assert new != old
        published = await head()  # from the moment it is known, it signs beside the old one
        for pinned in (old, new):
            parse_checkpoint(published, [pinned], origin="log")
        w.clock.advance(TIMES.overlap)
        await turned(w)
        w.clock.advance(TIMES.log_retention - 1)
        await turned(w)
        for pinned in (old, new):
            parse_checkpoint(await head(), [pinned], origin="log")
        w.clock.advance(1)
        await turned(w)
        last = await head()
        parse_checkpoint(last, [new], origin="log")
        with pytest.raises(ProofInvalid, match="no known key"):
            parse_checkpoint(last, [old], origin="log")
        await replace_now(w.env, call, "log", "leaked")
        with pytest.raises(ProofInvalid):
            parse_checkpoint(await head(), [new], origin="log")
        assert await replay(w.store) == []

    async def turned(w):
        while await rotate_keys(w.env, w.clock.now):
            pass

    run(main())


def test_a_commit_that_failed_but_persisted_leaves_a_key_that_works(run):
    async def main():
        w, call = await rotating()
        faulty = FaultyStore(w.store)
        faulty.faults = ["persisted"]
        with pytest.raises(StoreUnavailable):
            await replace_now(replace(w.env, store=faulty), call, "token", "lost")
        await rotate_keys(w.env, w.clock.now)
        identity, agent = await w.proved()
        text, _ = await vouch(w.env, agent, identity)
        verified(w.env, text, w.clock.now)

    run(main())


def test_many_who_meet_an_unknown_key_share_a_read_that_begins_after_they_asked(run):
    async def main():
        w, call = await rotating()
        other = await replica(w)
        find, reads = w.store.find, [0]

        async def slow(kind, where, **more):
            reads[0] += kind is SigningKey and not where
            found = await find(kind, where, **more)
            await asyncio.sleep(0.02)
            return found

        w.store.find = slow
        early = asyncio.create_task(other.signer.refresh())
        await asyncio.sleep(0.01)
        w.store.find = find
        row, _ = await replace_now(w.env, call, "token", "lost")
        w.store.find, before = slow, reads[0]
        await asyncio.gather(*(other.signer.refresh(knows=row.kid) for _ in range(500)))
        await early
        assert row.kid in kids(other)
        assert reads[0] - before <= 4
        before = reads[0]
        await other.signer.refresh(knows=row.kid)
        assert reads[0] == before
        flood = [asyncio.create_task(other.signer.refresh(knows=f"junk{i}")) for i in range(2000)]
        await asyncio.gather(*flood)
        assert reads[0] - before <= 4, "junk costs no more than one read a pause"

    run(main())


async def sealed(w, kid):
    """The private half of a key, under its envelope."""
    return (await w.store.get(SigningKey, kid)).sealed
