"""Static secrets in versions, rewrapping, hand-overs: verbs and their reconciler, with every race we know."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain.caller import CallerKind
from remit.domain.change import Change
from remit.domain.errors import (
    Absent,
    BadField,
    BadToken,
    Busy,
    Conflict,
    Denied,
    IssuerUnavailable,
    StoreUnavailable,
    WrongState,
)
from remit.domain.keys import SigningKey
from remit.domain.lease import Lease, LeaseState
from remit.domain.secret import HandOver, HandOverState, Outbox, SealedSecret, SecretState, current, key_of
from remit.formats import hand_over as link
from remit.issuers import Tools, build
from remit.issuers.keyring import Keyring, RootSealer
from remit.store.memory import MemoryStore
from remit.store.replay import replay
from remit.store.sqlite import SqliteStore
from remit.testing.store import FaultyStore
from remit.verbs import hand_over, rewrap, seal
from remit.verbs.hand_over import open_, send, withdraw
from remit.verbs.issue import issue
from remit.verbs.seal import Terms, retire, rollback, versions
from remit.work.end_leases import end_leases
from remit.work.tend_secrets import tend_secrets
from tests.world import changed, world


async def secret_world(store=None, also=None):
    """A world whose `shown` credential is a real static secret that its policy permits."""
    files = changed()
    head, _, _ = files["purposes/pay.toml"].rpartition('[[credentials]]\nname = "secret"')
    files["purposes/pay.toml"] = head + (
        '[[credentials]]\nname = "secret"\nissuer = "box"\nttl = "10m"\ngrants = { secret = "stripe" }\n'
        '[[credentials]]\nname = "token"\nissuer = "box"\nttl = "10m"\nreveal = true\ngrants = { secret = "stripe" }\n'
    )
    for name, text in (also or {}).items():
        files[name] = files["remit.toml"] + text if name == "remit.toml" else text
    w = await world(store, files)
    tools = Tools(w.store, w.env.signer, w.env.sealer, "https://r", {}, w.clock)
    w.env = replace(w.env, issuer=lambda config: build(config, tools) if config.kind == "static" else w.issuer)
    w.operator = lambda: w.call(CallerKind.OPERATOR, "op")
    return w


def value_of(w, row):
    return w.env.sealer.unseal(row.envelope, row.context)


# --- versions ---


def test_sealing_again_makes_the_next_version_and_the_newest_active_is_minted(run):
    async def main():
        w = await secret_world()
        _, call = await w.proved()
        task = await w.task(call)
        with pytest.raises(IssuerUnavailable, match="Nothing is sealed as stripe"):
            await issue(w.env, call, task.id, "token")
        first = await seal.seal(w.env, w.operator(), "stripe", b"one", Terms("first", rotate_after=1000))
        assert (first.key, first.label, first.number, first.sealed_by) == ("stripe", "stripe/1", 1, "operator:op")
        old, minted = await issue(w.env, call, task.id, "token")
        assert minted.parts == {"value": "one"} and old.holds == "stripe/1"
        second = await seal.seal(w.env, w.operator(), "stripe", b"two")
        assert (second.key, second.number, second.rotate_after) == ("stripe/2", 2, 1000)
        new, minted = await issue(w.env, call, task.id, "token")
        assert minted.parts == {"value": "two"} and new.holds == "stripe/2"
        assert [v.rotate_at for v in await versions(w.env, "stripe")] == [0, w.clock.now + 1000]
        third = await rollback(w.env, w.operator(), "stripe")
        assert (value_of(w, third), third.number, third.note) == (b"one", 3, "version 1 again")
        fourth = await rollback(w.env, w.operator(), "stripe", 2)
        assert value_of(w, fourth) == b"two"
        for number in (9, 5):
            with pytest.raises(Absent):
                await rollback(w.env, w.operator(), "stripe", number)
        with pytest.raises(Absent):
            await rollback(w.env, w.operator(), "nothing")
        assert await replay(w.store) == []

    run(main())


def test_what_may_not_be_sealed(run):
    async def main():
        w = await secret_world()
        now = w.clock.now
        for name, value, terms in (
            ("Bad Name", b"x", None),
            ("a", b"", None),
            ("a", b"x" * 65_537, None),
            ("a", b"\xff", None),
            ("a", b"x", Terms(note="n" * 501)),
            ("a", b"x", Terms(expires_at=now)),
            ("a", b"x", Terms(expires_at=now + 11 * 366 * 86_400_000)),
            ("a", b"x", Terms(rotate_after=-2)),
        ):
            with pytest.raises(BadField):
                await seal.seal(w.env, w.operator(), name, value, terms)
        assert await versions(w.env, "a") == []

    run(main())


def test_many_at_once_get_numbers_of_their_own_and_no_more_than_a_hundred_are_active(run, monkeypatch):
    monkeypatch.setattr(seal, "VERSIONS_LIMIT", 5)
    monkeypatch.setattr(seal, "ROUNDS", 100)

    async def main():
        w = await secret_world()
        tasks = [seal.seal(w.env, w.operator(), "a", f"v{i}".encode()) for i in range(20)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        done = sorted(row.number for row in found if isinstance(row, SealedSecret))
        assert done == [1, 2, 3, 4, 5] and sum(isinstance(f, WrongState) for f in found) == 15
        await retire(w.env, w.operator(), "a", 1, "room")
        assert (await seal.seal(w.env, w.operator(), "a", b"more")).number == 6

    run(main())


def test_retiring_ends_the_leases_that_hold_it_and_then_the_envelope_is_gone(run):
    async def main():
        w = await secret_world()
        _, call = await w.proved()
        task = await w.task(call)
        await seal.seal(w.env, w.operator(), "stripe", b"one")
        held = [(await issue(w.env, call, task.id, "token"))[0].id for _ in range(3)]
        await seal.seal(w.env, w.operator(), "stripe", b"two")
        newer, _ = await issue(w.env, call, task.id, "token")
        nudges = len(w.nudges)
        row = await retire(w.env, w.operator(), "stripe", 1, "leaked")
        assert row.state is SecretState.RETIRING and len(w.nudges) == nudges + 1
        assert (await retire(w.env, w.operator(), "stripe", 1, "again")).retire_reason == "leaked"
        with pytest.raises(Absent):
            await retire(w.env, w.operator(), "stripe", 7, "")
        assert await tend_secrets(w.env, w.clock.now) == 3
        assert (await versions(w.env, "stripe"))[0].envelope  # not before every lease has ended
        await end_leases(w.env, w.clock.now)
        for lease_id in held:
            lease = await w.store.get(Lease, lease_id)
            assert lease.state is LeaseState.ENDED and lease.end_reason == "version 1 of stripe was retired"
        assert (await w.store.get(Lease, newer.id)).state is LeaseState.LIVE
        assert await tend_secrets(w.env, w.clock.now) == 1
        gone = (await versions(w.env, "stripe"))[0]
        assert gone.state is SecretState.RETIRED and gone.envelope == ""
        assert await tend_secrets(w.env, w.clock.now) == 0
        with pytest.raises(Absent):
            await rollback(w.env, w.operator(), "stripe", 1)
        assert await replay(w.store) == []
        assert {"SecretSealed", "SecretRetiring", "SecretRetired", "LeaseEnding"} <= set(w.events())

    run(main())


class Between(MemoryStore):
    """Runs `then` once, right before a commit of this kind of row: what a verb read is old by then."""

    def __init__(self, kind=None):
        super().__init__()
        self.kind, self.then, self.times = kind, None, 1

    async def commit(self, change: Change) -> int:
        if self.then and self.times and any(isinstance(put.row, self.kind) for put in change.puts):
            self.times -= 1
            then, kept = self.then, self.times
            self.times = 0
            await then()
            self.times = kept
        return await super().commit(change)


def test_retired_between_reading_and_reserving_is_not_handed_out(run):
    async def main():
        store = Between(Lease)
        w = await secret_world(store)
        _, call = await w.proved()
        task = await w.task(call)
        await seal.seal(w.env, w.operator(), "stripe", b"leaked")
        await seal.seal(w.env, w.operator(), "stripe", b"leaked-too")
        store.then = lambda: retire(w.env, w.operator(), "stripe", 2, "")
        lease, minted = await issue(w.env, call, task.id, "token")
        assert (lease.holds, minted.parts["value"]) == ("stripe/1", "leaked")
        store.times, store.then = 1, lambda: retire(w.env, w.operator(), "stripe", 1, "")
        with pytest.raises(IssuerUnavailable):
            await issue(w.env, call, task.id, "token")

    run(main())


def test_retired_while_the_mint_is_in_flight_the_secret_is_thrown_away(run):
    async def main():
        w = await secret_world()
        _, call = await w.proved()
        task = await w.task(call)
        await seal.seal(w.env, w.operator(), "stripe", b"one")
        inner = w.env.issuer

        class Slow:
            def __init__(self, config):
                self.real = inner(config)

            async def mint(self, lease):
                minted = await self.real.mint(lease)
                await retire(w.env, w.operator(), "stripe", 1, "")
                await tend_secrets(w.env, w.clock.now)
                return minted

        with pytest.raises(Denied, match="ended before it was ready"):
            await issue(replace(w.env, issuer=Slow), call, task.id, "token")
        with pytest.raises(IssuerUnavailable):  # reserved before, minted after
            lease = (await w.store.find(Lease, {"holds": "stripe/1"}))[0]
            await inner((await w.env.in_force())[1].catalogue.issuers["box"]).mint(lease)

    run(main())


def test_expiry_and_reminders(run):
    async def main():
        w = await secret_world()
        now = w.clock.now
        _, call = await w.proved()
        task = await w.task(call)
        await seal.seal(w.env, w.operator(), "stripe", b"x", Terms(expires_at=now + 60_000, rotate_after=30_000))
        lease, _ = await issue(w.env, call, task.id, "token")
        assert lease.expires_at == now + 60_000
        assert await tend_secrets(w.env, now + 29_999) == 0
        assert await tend_secrets(w.env, now + 30_000) == 1 and await tend_secrets(w.env, now + 30_001) == 0
        (late,) = await w.store.find(SealedSecret, {"overdue": "yes"})
        assert late.reminded_at == now + 30_000
        await seal.seal(w.env, w.operator(), "stripe", b"y", Terms(rotate_after=0))
        assert await w.store.find(SealedSecret, {"overdue": "yes"}) == []
        w.clock.advance(60_000)
        lease, _ = await issue(w.env, replace(call, now=w.clock.now), task.id, "token")
        assert lease.holds == "stripe/2"
        assert await tend_secrets(w.env, w.clock.now) == 1
        assert (await versions(w.env, "stripe"))[0].retire_reason == "expired"
        assert "SecretOverdue" in w.events()

    run(main())


def test_states_have_no_other_arrows():
    row = SealedSecret("a", "e", 1, "op")
    assert key_of("a/1") == "a" and key_of("a/12") == "a/12" and current([], 1) is None
    for wrong in (row.retired, lambda: row.retiring(1, "").retiring(1, "")):
        with pytest.raises(WrongState):
            wrong()
    with pytest.raises(WrongState):
        row.retiring(1, "").reminded(1)
    over = HandOver("h", "person:a", "b", "e", "p", 1, 5)
    with pytest.raises(WrongState):
        over.ended(HandOverState.WAITING, 1)
    with pytest.raises(WrongState):
        over.ended(HandOverState.OPENED, 1).ended(HandOverState.EXPIRED, 1)


class Losing(MemoryStore):
    losing = None

    async def commit(self, change):
        if self.losing and any(isinstance(put.row, self.losing) for put in change.puts):
            raise Conflict("lost")
        return await super().commit(change)


def test_losing_for_ever_says_busy(run):
    async def main():
        store = Losing()
        w = await secret_world(store)
        await seal.seal(w.env, w.operator(), "a", b"x")
        await seal.seal(w.env, w.operator(), "a", b"y")
        key, row = await sent(w)
        store.losing = SealedSecret
        for attempt in (
            seal.seal(w.env, w.operator(), "a", b"x"),
            rollback(w.env, w.operator(), "a"),
            retire(w.env, w.operator(), "a", 1, ""),
        ):
            with pytest.raises(Busy):
                await attempt
        store.losing = HandOver
        for attempt in (
            sent(w),
            open_(w.env, w.person("frank"), row.id, link.proof(key)),
            withdraw(w.env, w.person("dana"), row.id),
        ):
            with pytest.raises(Busy):
                await attempt
        w.clock.advance(10**9)
        assert await tend_secrets(w.env, w.clock.now) == 0

    run(main())


def test_leases_that_others_move_are_looked_at_again(run):
    async def main():
        store = Losing()
        w = await secret_world(store)
        _, call = await w.proved()
        task = await w.task(call)
        await seal.seal(w.env, w.operator(), "stripe", b"one")
        await issue(w.env, call, task.id, "token")
        await retire(w.env, w.operator(), "stripe", 1, "")
        store.losing = Lease
        assert await tend_secrets(w.env, w.clock.now) == 0
        store.losing = None
        assert await tend_secrets(w.env, w.clock.now) == 1

    run(main())


# --- enforcement points ---


def test_an_enforcement_point_gets_what_the_agent_may_not_see(run):
    async def main():
        w = await secret_world()
        await seal.seal(w.env, w.operator(), "stripe", b"canary")
        _, call = await w.proved()
        task = await w.task(call)
        with pytest.raises(Denied, match="never shown"):
            await issue(w.env, call, task.id, "secret")
        gate = w.call(CallerKind.ENFORCER, "gate")
        _, minted = await issue(w.env, gate, task.id, "secret")
        assert minted.parts == {"value": "canary"} and "canary" not in repr(minted)
        for other in (w.person("dana"), w.operator(), w.call(CallerKind.ENFORCER, "gate")):
            wanted = "tsk_nothing" if other.caller.kind is CallerKind.ENFORCER else task.id
            with pytest.raises(Absent):
                await issue(w.env, other, wanted, "secret")

    run(main())


# --- rewrap ---


def test_rewrapping_moves_every_envelope_and_may_stop_anywhere(run, tmp_path):
    old, new = b"o" * 32, b"n" * 32

    async def main():
        store = FaultyStore(SqliteStore.open(tmp_path / "remit.db"))
        w = await secret_world(store)  # its root key is b"r" * 32
        for i in range(5):
            await seal.seal(w.env, w.operator(), f"s{i}", f"canary-{i}".encode())
        await retire(w.env, w.operator(), "s4", 1, "")
        await tend_secrets(w.env, w.clock.now)
        key, row = await sent(w)
        before = {r.key: r.envelope for r in await store.find(SealedSecret, {})}
        both = replace(w.env, sealer=RootSealer(new, b"r" * 32))
        store.faults = ["", "", "lost"]
        with pytest.raises(StoreUnavailable):
            await rewrap.rewrap(both, w.operator())
        store.faults = ["", "persisted"]
        with pytest.raises(StoreUnavailable):
            await rewrap.rewrap(both, w.operator())
        for mixed in await store.find(SigningKey, {}):  # in between, both keys together open everything
            both.sealer.unseal(mixed.sealed, b"signing_key:" + mixed.kid.encode())
        found = await rewrap.rewrap(both, w.operator())
        signing = len(await store.find(SigningKey, {}))
        assert found.done + found.already == signing + 5 + 1 and found.done and found.already and not found.unopened
        again = await rewrap.rewrap(both, w.operator())
        assert again.done == 0 and again.already == signing + 6
        after = {r.key: r.envelope for r in await store.find(SealedSecret, {})}
        alone = RootSealer(new)
        for name in ("s0", "s1", "s2", "s3"):
            assert (
                after[name] != before[name] and after[name][-20:] == before[name][-20:]
            )  # the ciphertext is as it was
            assert alone.unseal(after[name], f"sealed_secret:{name}".encode()) == f"canary-{name[1]}".encode()
        await Keyring.open(store, alone, 1)
        with pytest.raises(BadToken):
            await Keyring.open(store, RootSealer(b"r" * 32), 1)
        for gone in (old, b"r" * 32):
            for envelope in filter(None, after.values()):
                with pytest.raises(BadToken):
                    RootSealer(gone).rewrap(envelope)
        opened = await open_(replace(w.env, sealer=alone), w.person("frank"), row.id, link.proof(key))
        assert link.open_(opened[1], key) == b"canary-handed"
        wrong = await rewrap.rewrap(replace(w.env, sealer=RootSealer(old, b"x" * 32)), w.operator())
        assert len(wrong.unopened) == signing + 4 and "SealedSecret s0" in wrong.unopened
        assert await replay(store.inner) == []
        history = b"".join(bodies for _, _, bodies in await store.inner.history(0, 1000))
        for envelope in filter(None, (*before.values(), *after.values())):
            assert envelope.encode() not in history
        await store.inner.close()

    run(main())


def test_somebody_writes_while_it_is_rewrapped(run):
    async def main():
        store = Between(SealedSecret)
        w = await secret_world(store)
        await seal.seal(w.env, w.operator(), "a", b"x", Terms(rotate_after=10))
        store.then = lambda: tend_secrets(w.env, w.clock.now + 10)
        found = await rewrap.rewrap(replace(w.env, sealer=RootSealer(b"n" * 32, b"r" * 32)), w.operator())
        assert not found.unopened
        (row,) = await versions(w.env, "a")
        assert row.reminded_at and RootSealer(b"n" * 32).unseal(row.envelope, row.context) == b"x"

    run(main())


# --- hand-over ---


async def sent(w, to="frank", sender="dana", value=b"canary-handed", ttl=60_000, note=""):
    key = link.new_key()
    row = await send(w.env, w.person(sender), to, link.close(value, key), link.proof(key), ttl, note)
    return key, row


def test_handed_over_once_to_one_person(run):
    async def main():
        w = await secret_world()
        key, row = await sent(w, note="vpn")
        stored = await w.store.get(HandOver, row.id)
        assert stored.envelope and stored.envelope not in repr(stored) and stored.sender == "person:dana"
        inner = w.env.sealer.unseal(stored.envelope, b"hand_over:" + row.id.encode())
        assert b"canary" not in inner  # the root key alone does not open it
        with pytest.raises(BadToken):
            link.open_(stored.envelope, key)  # nor does the link alone
        proof = link.proof(key)
        refused = [
            (w.person("gina"), row.id, proof),
            (w.person("dana"), row.id, proof),
            (w.call(CallerKind.OPERATOR, "frank"), row.id, proof),
            (w.person("frank"), row.id, link.proof(link.new_key())),
            (w.person("frank"), row.id, "x"),
            (w.person("frank"), "hov_nothing", proof),
        ]
        for call, which, shown in refused:
            with pytest.raises(Absent):
                await open_(w.env, call, which, shown)
        assert (await w.store.get(HandOver, row.id)).state is HandOverState.WAITING  # nobody spent it
        opened, envelope = await open_(w.env, w.person("frank"), row.id, proof)
        assert link.open_(envelope, key) == b"canary-handed"
        assert (opened.state, opened.ended_at, opened.envelope) == (HandOverState.OPENED, w.clock.now, "")
        assert (await w.store.get(HandOver, row.id)).envelope == ""
        with pytest.raises(Absent):
            await open_(w.env, w.person("frank"), row.id, proof)
        assert (await withdraw(w.env, w.person("dana"), row.id)).state is HandOverState.OPENED
        assert w.events()[-1] == "HandOverOpened" and await replay(w.store) == []
        told = b"".join(leaf + bodies for _, leaf, bodies in await w.store.history(0, 1000))
        for gone in (stored.envelope, stored.proof, envelope):
            assert gone.encode() not in told  # no event keeps what the row no longer has

    run(main())


def test_withdrawn_and_expired(run):
    async def main():
        w = await secret_world()
        key, row = await sent(w)
        for stranger in ("frank", "gina"):
            with pytest.raises(Absent):
                await withdraw(w.env, w.person(stranger), row.id)
        with pytest.raises(Absent):
            await withdraw(w.env, w.person("dana"), "hov_nothing")
        assert (await withdraw(w.env, w.person("dana"), row.id)).state is HandOverState.WITHDRAWN
        with pytest.raises(Absent):
            await open_(w.env, w.person("frank"), row.id, link.proof(key))
        key, row = await sent(w)
        w.clock.advance(60_000)
        with pytest.raises(Absent):  # before the reconciler came
            await open_(w.env, w.person("frank"), row.id, link.proof(key))
        assert await tend_secrets(w.env, w.clock.now) == 1
        gone = await w.store.get(HandOver, row.id)
        assert gone.state is HandOverState.EXPIRED and gone.envelope == ""

    run(main())


def test_what_may_not_be_sent(run):
    async def main():
        w = await secret_world()
        key = link.new_key()
        good, proof = link.close(b"x", key), link.proof(key)
        for to, envelope, shown, ttl, note, error in (
            ("nobody", good, proof, 60_000, "", Absent),
            ("frank", "", proof, 60_000, "", BadField),
            ("frank", "A" * 100_000, proof, 60_000, "", BadField),
            ("frank", "not base64!", proof, 60_000, "", BadField),
            ("frank", good, "short", 60_000, "", BadField),
            ("frank", good, proof, 59_999, "", BadField),
            ("frank", good, proof, 7 * 86_400_000 + 1, "", BadField),
            ("frank", good, proof, 60_000, "n" * 501, BadField),
        ):
            with pytest.raises(error):
                await send(w.env, w.person("dana"), to, envelope, shown, ttl, note)
        assert await w.store.find(HandOver, {}) == []
        largest = link.close(b"x" * 65_536, key)
        await send(w.env, w.person("dana"), "frank", largest, proof, 60_000)
        for bad in (b"", b"x" * 65_537):
            with pytest.raises(BadField):
                link.close(bad, key)

    run(main())


def test_no_more_than_the_limit_wait_however_they_race(run, monkeypatch, tmp_path):
    monkeypatch.setattr(hand_over, "WAITING_LIMIT", 10)

    async def main():
        w = await secret_world(SqliteStore.open(tmp_path / "remit.db"))
        found = await asyncio.gather(*(sent(w) for _ in range(40)), return_exceptions=True)
        assert sum(isinstance(f, Busy) for f in found) == 30
        assert len(await w.store.find(HandOver, {"state": "waiting"})) == 10
        await sent(w, sender="gina")
        row = next(f[1] for f in found if not isinstance(f, Busy))
        await withdraw(w.env, w.person("dana"), row.id)
        await sent(w)
        assert (await w.store.get(Outbox, "person:dana")).sent == 11
        await w.store.close()

    run(main())


@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_of_fifty_openers_exactly_one_gets_it(run, where, tmp_path, request):
    async def main():
        if where == "sqlite":
            store = SqliteStore.open(tmp_path / "remit.db")
        else:
            import secrets

            import psycopg

            from remit.store.postgres import PostgresStore

            server, name = request.getfixturevalue("postgres"), f"t_{secrets.token_hex(6)}"
            with psycopg.connect(server.dsn(), autocommit=True) as db:
                db.execute(f"CREATE DATABASE {name}")
            store = await PostgresStore.open(server.dsn(database=name))
        w = await secret_world(store)
        key, row = await sent(w)
        attempts = [open_(w.env, w.person("frank"), row.id, link.proof(key)) for _ in range(50)]
        found = await asyncio.gather(*attempts, withdraw(w.env, w.person("dana"), row.id), return_exceptions=True)
        got = [f for f in found[:50] if isinstance(f, tuple)]
        assert len(got) == (found[50].state is HandOverState.OPENED)
        assert all(isinstance(f, Absent) for f in found[:50] if not isinstance(f, tuple))
        key, row = await sent(w)
        attempts = [open_(w.env, w.person("frank"), row.id, link.proof(key)) for _ in range(50)]
        found = await asyncio.gather(*attempts, return_exceptions=True)
        assert [link.open_(f[1], key) for f in found if isinstance(f, tuple)] == [b"canary-handed"]
        assert sum(isinstance(f, Absent) for f in found) == 49
        assert await replay(store) == []
        await store.close()

    run(main())


def test_a_crash_between_commit_and_answer_loses_it_and_a_crash_before_does_not(run):
    async def main():
        store = FaultyStore(MemoryStore())
        w = await secret_world(store)
        key, row = await sent(w)
        store.faults = ["lost"]
        with pytest.raises(StoreUnavailable):
            await open_(w.env, w.person("frank"), row.id, link.proof(key))
        assert (await store.get(HandOver, row.id)).state is HandOverState.WAITING
        store.faults = ["persisted"]
        with pytest.raises(StoreUnavailable):
            await open_(w.env, w.person("frank"), row.id, link.proof(key))
        with pytest.raises(Absent):
            await open_(w.env, w.person("frank"), row.id, link.proof(key))
        assert (await store.get(HandOver, row.id)).state is HandOverState.OPENED

    run(main())


def test_the_wrong_root_key_spends_nothing(run):
    async def main():
        w = await secret_world()
        key, row = await sent(w)
        with pytest.raises(BadToken):
            await open_(replace(w.env, sealer=RootSealer(b"x" * 32)), w.person("frank"), row.id, link.proof(key))
        assert link.open_((await open_(w.env, w.person("frank"), row.id, link.proof(key)))[1], key) == b"canary-handed"

    run(main())


def test_a_withdrawal_in_between_wins(run):
    async def main():
        store = Between(HandOver)
        w = await secret_world(store)
        key, row = await sent(w)
        store.then = lambda: withdraw(w.env, w.person("dana"), row.id)
        with pytest.raises(Absent):
            await open_(w.env, w.person("frank"), row.id, link.proof(key))

    run(main())


def test_links():
    key = link.new_key()
    id_ = "hov_" + "0" * 32
    for server in ("https://remit.example", "http://127.0.0.1:7450", "http://[::1]:7450", "https://remit.example/sub"):
        text = link.link(server, id_, key)
        assert link.parse_link(text + "\n") == (server, id_, key)
    good = link.link("https://remit.example", id_, key)
    for bad in (
        "",
        "x",
        good.partition("#")[0],
        good[:-1],
        good + "A",
        good.replace("https", "file"),
        good.replace("https://", "https://me@"),
        good.replace("#", "?a=1#"),
        good.replace("hov_0", "hov_/"),
        good.replace("/handover/", "/x/"),
        good.replace("remit.example", "remit.example:99999"),
        "https://[bad/handover/x#y",
    ):
        with pytest.raises(BadField) as refused:
            link.parse_link(bad)
        assert good.partition("#")[2] not in str(refused.value)
