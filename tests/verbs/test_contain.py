"""What leaked is known by its bytes, and taken out of use: whoever asks, whatever comes between, however often."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import cache

import pytest

from remit.domain.approval import Approval, ApprovalState
from remit.domain.caller import AccessKey, CallerKind
from remit.domain.decision import Access, Deny
from remit.domain.errors import Absent, BadCatalogue, BadField, Busy, Denied, WrongState
from remit.domain.finding import Finding, FindingState, Severity, Subject
from remit.domain.freeze import Reach
from remit.domain.leak import Fingerprint, Leak, LeakKind, Live, ScanReport, Seen
from remit.domain.lease import Lease, LeaseState
from remit.domain.secret import SecretState
from remit.domain.task import Task, TaskState
from remit.formats import leak_digest, signing_key
from remit.formats.catalogue import parse
from remit.govern.outward import occurrence
from remit.issuers.keyring import RootSealer
from remit.store.memory import MemoryStore
from remit.store.replay import replay
from remit.testing.store import FaultyStore
from remit.verbs import seal
from remit.verbs.admit import admit
from remit.verbs.approve import Given, answer
from remit.verbs.contain import contain, live
from remit.verbs.decide import decide
from remit.verbs.discover import Found, report, resolve
from remit.verbs.freeze import freeze
from remit.verbs.issue import issue
from remit.verbs.recognise import MOST, take
from remit.verbs.revoke import end_task
from remit.web import frames
from remit.work.contain import tend_findings
from remit.work.end_leases import end_leases
from remit.work.recognise import recognise
from remit.work.tend_approvals import tend_approvals
from remit.work.tend_secrets import tend_secrets
from tests import delegating
from tests.verbs.test_secrets import Between, Losing, secret_world
from tests.world import changed

PASSWORD = "a-static-secret-of-somebody"
LIST = {"customer": "acme"}


@pytest.fixture(autouse=True)
def _one_rsa_key(monkeypatch):
    """An RSA key costs more than everything else in a world, and no two worlds are open at once here."""
    monkeypatch.setattr(
        signing_key, "generate", lambda algorithm: _RSA() if algorithm == "RS256" else _fresh(algorithm)
    )


_fresh = signing_key.generate
_RSA = cache(lambda: _fresh("RS256"))
NEVER = "[findings]\nstop = []\n"


async def house(store=None, stop=True, findings="", shared="", owner="olga"):
    """A world with `stripe` sealed, an agent, and an open task; without `stop` no finding stops anything by itself."""
    also = {"remit.toml": findings or ("" if stop else NEVER)}
    also["agents/bot.toml"] = f'owner = "{owner}"\n[[attestations]]\nmethod = "join_token"\n'
    w = await secret_world(store, also | ({"purposes/shared.toml": shared} if shared else {}))
    await seal.seal(w.env, w.operator(), "stripe", PASSWORD.encode())
    _, call = await w.proved()
    return w, call, await w.task(call)


def seen(w, *secrets, place="app/.env:1"):
    """What a scanner makes of these, with nothing but the scan key; and what becomes of it here."""
    return [Seen(w.env.print_of(leak_digest.seen(w.env.scan_key, text)), "secret-in-file", place) for text in secrets]


async def found(w, *secrets, **more):
    """Report and compare them; every finding there is."""
    await take(w.env, w.call(CallerKind.SCANNER, "ci"), seen(w, *secrets, **more))
    await recognise(w.env, w.clock.now)
    return await w.store.find(Finding, {})


async def settle(w):
    """Every reconciler, until nothing moves."""
    for _ in range(12):
        moved = await tend_findings(w.env, w.clock.now) + await tend_secrets(w.env, w.clock.now)
        if not moved and (await end_leases(w.env, w.clock.now)).idle:
            return
    raise AssertionError("it never comes to rest")


def mine(w, name):
    return w.call(CallerKind.PERSON, name)


async def agreed(w, row, name="olga", yes=True):
    approval = await w.store.get(Approval, row.approval)
    return await answer(w.env, mine(w, name), approval.id, Given(approval.digest, yes))


# --- recognised ---


def test_what_was_minted_sealed_or_given_out_here_is_known_by_its_bytes_and_nothing_else_is_kept(run):
    async def main():
        w, call, task = await house(stop=False)
        lease, minted = await issue(w.env, call, task.id, "db")
        key, row = await admit(w.env, w.operator(), CallerKind.ENFORCER, "gate", 1_000_000)
        (password,) = [text for name, text in minted.parts.items() if name == "password"]
        rows = await found(w, password, f"  {PASSWORD}\n", key, "hunter2-of-somebody-else", "gate")
        assert {(one.subject, one.name, one.severity) for one in rows} == {
            (Subject.TASK, task.id, Severity.HIGH),
            (Subject.SECRET, "stripe", Severity.HIGH),
            (Subject.KEY, row.digest, Severity.CRITICAL),
        }
        assert {one.leak for one in rows} == {f"lease:{lease.id}", "secret:stripe/1", f"key:{row.digest}"}
        assert all(one.place == "app/.env:1" and one.found_by == "scanner:ci" and not one.stopped for one in rows)
        (scan,) = await w.store.find(ScanReport, {})
        assert (scan.seen, scan.known, scan.due) == ((), 3, 0)
        assert await found(w, password, PASSWORD, place="b/.env:9") == rows  # the same, known again
        for one in rows:
            assert (await live(w.env, one, w.clock.now)) is Live.YES
        told = b"".join(leaf + bodies for leaf, bodies in w.store._events)
        kept = repr([await w.store.find(kind, {}) for kind in (Finding, Fingerprint, ScanReport)])
        digests = [
            leak_digest.seen(w.env.scan_key, text) for text in (password, PASSWORD, key, "hunter2-of-somebody-else")
        ]
        for text in (password, PASSWORD, key, *digests):
            assert text.encode() not in told and text not in kept
        assert not [
            one for one in seen(w, "hunter2-of-somebody-else") if one.print.encode() in told or one.print in kept
        ]
        assert not await replay(w.store)

    run(main())


def test_dead_ones_are_known_as_dead_and_a_newer_version_makes_it_less_severe(run):
    async def main():
        w, call, task = await house(stop=False)
        _, minted = await issue(w.env, call, task.id, "db")
        key, _ = await admit(w.env, w.operator(), CallerKind.PERSON, "dana", 60_000)
        await end_task(w.env, call, task.id, "done")
        await end_leases(w.env, w.clock.now)
        await seal.seal(w.env, w.operator(), "stripe", b"a-newer-one-of-somebody")
        w.clock.advance(60_000)
        rows = await found(w, minted.parts["password"], PASSWORD, key)
        assert {one.subject: one.severity for one in rows} == {
            Subject.TASK: Severity.LOW, Subject.SECRET: Severity.MEDIUM, Subject.KEY: Severity.LOW,
        }  # fmt: skip
        alive = {one.subject: await live(w.env, one, w.clock.now) for one in rows}
        assert alive == {Subject.TASK: Live.NO, Subject.SECRET: Live.YES, Subject.KEY: Live.NO}
        assert (await live(w.env, replace(rows[0], leak=""), 0)) is Live.UNKNOWN
        await seal.retire(w.env, w.operator(), "stripe", 1, "")
        other = await found(w, PASSWORD)
        assert len(other) == len(rows)
        await tend_secrets(w.env, w.clock.now)
        (secret,) = [one for one in rows if one.subject is Subject.SECRET]
        assert (await live(w.env, secret, w.clock.now)) is Live.UNKNOWN
        await resolve(w.env, w.operator(), secret.id, "rotated")
        assert len(await found(w, PASSWORD)) == len(rows)  # its envelope is gone, so nobody knows it any more

    run(main())


def test_one_that_is_ending_and_one_that_is_retiring(run):
    async def main():
        w, call, task = await house(stop=False)
        _, minted = await issue(w.env, call, task.id, "db")
        w.issuer.faults = ["kill-before"] * 3
        await end_task(w.env, call, task.id, "done")
        await end_leases(w.env, w.clock.now)
        await seal.retire(w.env, w.operator(), "stripe", 1, "")
        rows = await found(w, minted.parts["password"], PASSWORD)
        assert {one.subject: one.severity for one in rows} == {
            Subject.TASK: Severity.MEDIUM, Subject.SECRET: Severity.LOW,
        }  # fmt: skip

    run(main())


def test_a_resolved_one_that_is_seen_again_is_another(run):
    async def main():
        w, _, _ = await house(stop=False)
        (first,) = await found(w, PASSWORD)
        await resolve(w.env, w.operator(), first.id, "a mistake")
        rows = await found(w, PASSWORD)
        assert [row.state for row in sorted(rows, key=lambda row: row.state.value)] == [
            FindingState.OPEN, FindingState.RESOLVED,
        ]  # fmt: skip
        w.clock.advance(1)
        await resolve(w.env, w.operator(), next(r for r in rows if r.state is FindingState.OPEN).id, "again")
        assert len(await found(w, PASSWORD)) == 3

    run(main())


def test_a_report_that_was_acknowledged_is_compared_after_a_crash_anywhere_and_finds_each_once(run):
    async def main():
        for fault in range(4):
            store = FaultyStore(MemoryStore())
            w, call, task = await house(store, stop=False)
            _, minted = await issue(w.env, call, task.id, "db")
            await take(w.env, w.call(CallerKind.SCANNER, "ci"), seen(w, minted.parts["password"], PASSWORD))
            store.faults = [""] * fault + ["persisted"]
            for _ in range(3):
                try:
                    await recognise(w.env, w.clock.now)
                except Exception as lost:
                    assert type(lost).__name__ == "StoreUnavailable"
            assert len(await w.store.find(Finding, {})) == 2
            assert not await w.store.due(ScanReport, w.clock.now)

    run(main())


def test_two_who_find_it_at_once_find_one(run):
    async def main():
        w, _, _ = await house(Between(Finding), stop=False)
        await take(w.env, w.call(CallerKind.SCANNER, "ci"), seen(w, PASSWORD))
        await take(w.env, w.call(CallerKind.OPERATOR, "op"), seen(w, PASSWORD, place="b"))
        w.store.then = lambda: recognise(w.env, w.clock.now)  # another replica, between the reads and the commit
        await recognise(w.env, w.clock.now)
        assert len(await w.store.find(Finding, {})) == 1 and w.store.times == 0

    run(main())


def test_a_severe_one_stops_by_itself(run):
    async def main():
        w, call, task = await house()
        _, minted = await issue(w.env, call, task.id, "db")
        key, row = await admit(w.env, w.operator(), CallerKind.OPERATOR, "ops", 1_000_000)
        _, gone = await admit(w.env, w.operator(), CallerKind.OPERATOR, "ops", 10)
        rows = await found(w, minted.parts["password"], key)
        assert all(one.stopped for one in rows)
        assert (await w.store.get(AccessKey, row.digest)).expires_at == w.clock.now
        assert (await w.store.get(Task, task.id)).state is TaskState.REVOKED
        w.clock.advance(10)
        late = Found(Severity.HIGH, Subject.KEY, gone.digest, "leaked")
        assert (
            await report(w.env, w.operator(), replace(late, recognised=None, subject=Subject.AGENT, name="bot"))
        ).stopped
        for one in rows:
            await resolve(w.env, w.operator(), one.id, "dealt with")
        assert not await replay(w.store)

    run(main())


@pytest.mark.parametrize(
    "bad", [[], ["x"] * (MOST + 1), [Seen("p", "", "x")], [Seen("p", "r" * 65, "x")], [Seen("p", "r", "a\x1b[2Jb")]]
)
def test_reports_that_are_refused(run, bad):
    async def main():
        w, _, _ = await house()
        with pytest.raises(BadField):
            await take(w.env, w.call(CallerKind.SCANNER, "ci"), bad)
        for digest in ("", "z" * 64, "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"):
            with pytest.raises(BadField):
                w.env.print_of(digest)
        assert not await w.store.find(ScanReport, {})

    run(main())


# --- contained ---


def test_a_minted_credential_is_contained_in_one_commit_and_what_hangs_below_dies(run):
    async def main():
        w, call, task = await house(stop=False)
        lease, minted = await issue(w.env, call, task.id, "db")
        (row,) = await found(w, minted.parts["password"])
        before = len(w.events())
        done = await contain(w.env, w.operator(), row.id, "in a public repository", agent=True)
        assert w.events()[before:] == ["FindingContained"]
        denied = await decide(w.env, call, Access(task.id, "list", LIST))
        assert isinstance(denied, Deny) and denied.why[0].reason.value == "agent_frozen"
        with pytest.raises(Denied):
            await issue(w.env, call, task.id, "db")
        assert (await w.env.frozen()).found(Reach.AGENT, "bot").by == f"finding:{row.id}"
        assert (done.contained_by, done.reached_at) == ("operator:op", 0)
        await settle(w)
        assert not w.issuer.live and (await w.store.get(Lease, lease.id)).state is LeaseState.ENDED
        after = await w.store.get(Finding, row.id)
        assert after.reached_at and after.due == 0 and "FindingContainmentReached" in w.events()
        assert await contain(w.env, w.operator(), row.id, "again") == after  # twice is once
        await resolve(w.env, w.operator(), row.id, "the agent was fixed")
        assert (await w.env.frozen()).freezes == () and not await replay(w.store)
        with pytest.raises(WrongState, match="resolved"):
            await contain(w.env, w.operator(), row.id, "again")

    run(main())


def test_what_was_handed_on_ends_too_and_an_agent_that_is_frozen_stays_so(run):
    async def main():
        files = dict(delegating.CATALOGUE)
        w = await delegating.house({**files, "remit.toml": files["remit.toml"] + NEVER})
        _, lead = await w.proved()
        _, receiver = await w.proved("other")
        task = await w.task(lead, "lead")
        _, minted = await issue(w.env, lead, task.id, "db")
        child = await delegating.below(w, lead, await w.store.get(Task, task.id), receiver)
        op = w.call(CallerKind.OPERATOR, "op")
        mine_ = await freeze(w.env, op, Reach.AGENT, "bot", "for another reason")
        w.operator = lambda: op
        rows = await found(w, minted.parts["password"])
        row = rows[0]
        await contain(w.env, op, row.id, "leaked", agent=True)
        denied = await decide(w.env, delegating.now(w, receiver), Access(child.id, "list", LIST))
        assert isinstance(denied, Deny)
        assert (await w.env.frozen()).freezes == (mine_,)
        await resolve(w.env, op, row.id, "done")
        assert (await w.env.frozen()).freezes[0].name == "bot"  # it was not this finding's to end

    run(main())


def test_a_bearer_key_is_contained(run):
    async def main():
        w, _, _ = await house(stop=False)
        key, row = await admit(w.env, w.operator(), CallerKind.ENFORCER, "gate", 1_000_000)
        (finding,) = await found(w, key)
        await contain(w.env, w.operator(), finding.id, "in a log")
        assert (await w.store.get(AccessKey, row.digest)).expires_at == w.clock.now
        await settle(w)
        assert (await w.store.get(Finding, finding.id)).reached_at
        own, own_row = await admit(w.env, w.operator(), CallerKind.PERSON, "dana", 1_000)
        rows = await found(w, own)
        (theirs,) = [one for one in rows if one.name == own_row.digest]
        w.clock.advance(1_000)
        with pytest.raises(Absent):
            await contain(w.env, mine(w, "frank"), theirs.id, "not mine")
        await contain(w.env, mine(w, "dana"), theirs.id, "mine")  # over by itself: there is nothing to end

    run(main())


def test_a_static_secret_stops_at_once_and_is_destroyed_only_when_somebody_else_agrees(run):
    async def main():
        w, call, task = await house(stop=False)
        lease, _ = await issue(w.env, call, task.id, "token")
        (row,) = await found(w, PASSWORD)
        before = len(w.events())
        done = await contain(w.env, w.operator(), row.id, "in a log")
        assert w.events()[before:] == ["FindingContained"]
        with pytest.raises(Denied):
            await issue(w.env, call, task.id, "token")
        await settle(w)
        assert (await w.store.get(Lease, lease.id)).state is LeaseState.ENDED
        (version,) = await seal.versions(w.env, "stripe")
        assert version.state is SecretState.ACTIVE and version.envelope  # nothing is lost yet
        assert (await w.store.get(Finding, row.id)).reached_at == 0
        approval = await w.store.get(Approval, done.approval)
        assert (approval.approvers, approval.finding) == (("olga",), row.id)
        for other in ("dana", "frank"):
            with pytest.raises(Denied):
                await agreed(w, done, other)
        with pytest.raises(BadField, match="digest"):
            await answer(w.env, mine(w, "olga"), approval.id, Given("sha256:" + "0" * 64, True))
        await agreed(w, done)
        await settle(w)
        (version,) = await seal.versions(w.env, "stripe")
        assert version.state is SecretState.RETIRED and not version.envelope
        assert (await w.store.get(Approval, done.approval)).state is ApprovalState.USED
        after = await w.store.get(Finding, row.id)
        assert after.reached_at
        await seal.seal(w.env, w.operator(), "stripe", b"rotated-by-somebody-else")
        with pytest.raises(Denied):
            await w.task(call)
        await resolve(w.env, w.operator(), row.id, "rotated")
        assert (await w.task(call)).state is TaskState.OPEN and not await replay(w.store)

    run(main())


def test_an_older_version_is_contained_without_stopping_the_newer(run):
    async def main():
        w, call, task = await house(stop=False)
        lease, _ = await issue(w.env, call, task.id, "token")
        await seal.seal(w.env, w.operator(), "stripe", b"a-newer-one-of-somebody")
        newer, _ = await issue(w.env, call, task.id, "token")
        (row,) = await found(w, PASSWORD)
        await contain(w.env, w.operator(), row.id, "in a log")
        await settle(w)
        states = [(await w.store.get(Lease, one.id)).state for one in (lease, newer)]
        assert states == [LeaseState.ENDED, LeaseState.LIVE] and not (await w.env.frozen()).freezes

    run(main())


@pytest.mark.parametrize("how", ["refused", "expired", "resolved", "by hand"])
def test_without_a_yes_nothing_is_destroyed(run, how):
    async def main():
        w, _, _ = await house(stop=False)
        (row,) = await found(w, PASSWORD)
        row = await contain(w.env, w.operator(), row.id, "in a log")
        approval = await w.store.get(Approval, row.approval)
        match how:
            case "refused":
                await agreed(w, row, yes=False)
            case "expired":
                w.clock.now = approval.expires_at
                await tend_approvals(w.env, w.operator())
            case "resolved":
                await resolve(w.env, w.operator(), row.id, "a mistake")
                assert (await w.store.get(Approval, row.approval)).state is ApprovalState.EXPIRED
            case "by hand":
                await agreed(w, row)
                await seal.retire(w.env, w.operator(), "stripe", 1, "by hand")
        await settle(w)
        (version,) = await seal.versions(w.env, "stripe")
        assert version.state is (SecretState.RETIRED if how == "by hand" else SecretState.ACTIVE)
        after = await w.store.get(Finding, row.id)
        assert bool(after.reached_at) is (how != "resolved") and not after.due
        with pytest.raises(WrongState):
            await agreed(w, row)

    run(main())


def test_who_contains_never_agrees_and_with_nobody_else_nothing_is_destroyed(run):
    async def main():
        w, _, _ = await house(stop=False)
        (row,) = await found(w, PASSWORD)
        row = await contain(w.env, mine(w, "olga"), row.id, "mine, all of it")
        assert row.approval == ""  # only she answers for what uses it
        assert (await w.env.frozen()).found(Reach.SECRET, "stripe")
        await settle(w)
        (version,) = await seal.versions(w.env, "stripe")
        assert version.state is SecretState.ACTIVE
        named, _, _ = await house(stop=False, findings='[findings]\nstop = []\napprovers = ["olga", "finance"]\n')
        (row,) = await found(named, PASSWORD)
        row = await contain(named.env, mine(named, "olga"), row.id, "mine, all of it")
        approval = await named.store.get(Approval, row.approval)
        assert approval.approvers == ("finance",)
        with pytest.raises(Denied):
            await agreed(named, row, "olga")
        assert (await agreed(named, row, "gina")).state is ApprovalState.GRANTED

    run(main())


def test_those_who_are_asked_are_told_and_no_standing_yes_covers_it(run):
    async def main():
        told = '[findings]\nstop = []\n[notifications.chat]\nsecret = "chat"\n'
        w, _, _ = await house(stop=False, findings=told)
        (row,) = await found(w, PASSWORD)
        row = await contain(w.env, w.operator(), row.id, "in a log")
        from remit.domain.approval import Again
        from remit.domain.notice import Notice

        assert [one.approval for one in await w.store.find(Notice, {})] == [row.approval]
        approval = await w.store.get(Approval, row.approval)
        again = Given(approval.digest, True, again=Again(2, w.clock.now + 1000))
        with pytest.raises(BadField, match="each time"):
            await answer(w.env, mine(w, "olga"), approval.id, again)

    run(main())


# --- who may, and what comes between ---


def test_who_may_not_contain_sees_nothing_and_nothing_happens(run):
    async def main():
        w, call, task = await house(stop=False)
        _, minted = await issue(w.env, call, task.id, "db")
        rows = await found(w, minted.parts["password"], PASSWORD)
        before = w.events()
        strangers = [mine(w, "dana"), mine(w, "frank"), call, w.call(CallerKind.SCANNER, "ci")]
        strangers += [w.call(kind, "olga") for kind in (CallerKind.AUDITOR, CallerKind.ENFORCER, CallerKind.EDGE)]
        for stranger in strangers:
            for row in rows:
                with pytest.raises(Absent) as refused:
                    await contain(w.env, stranger, row.id, "for fun")
                assert str(refused.value) == str(Absent())
        for call_, id_ in ((w.operator(), "fnd_none"), (mine(w, "olga"), "fnd_none")):
            with pytest.raises(Absent):
                await contain(w.env, call_, id_, "for fun")
        for reason in ("", "x" * 501):
            with pytest.raises(BadField):
                await contain(w.env, w.operator(), rows[0].id, reason)
        assert w.events() == before

    run(main())


SHARED = 'owner = "frank"\nagents = ["other"]\nmax_duration = "1m"\nmax_calls = 1\n[[grants]]\ntool = "list"\n[[credentials]]\nname = "t"\nissuer = "box"\nttl = "1m"\ngrants = { secret = "stripe" }\n'


def test_a_secret_that_others_use_too_is_no_single_owners_to_stop(run):
    async def main():
        w, *_ = await house(stop=False, shared=SHARED)
        (row,) = await found(w, PASSWORD)
        for owner in ("olga", "frank"):
            with pytest.raises(Absent):
                await contain(w.env, mine(w, owner), row.id, "to harm the other")
        done = await contain(w.env, w.operator(), row.id, "in a log")
        assert (await w.store.get(Approval, done.approval)).approvers == ("frank", "olga")

    run(main())


def test_only_its_owner_freezes_an_agent(run):
    async def main():
        w, call, _ = await house(stop=False, owner="frank")
        task = await w.task(call)
        _, minted = await issue(w.env, call, task.id, "db")
        (row,) = await found(w, minted.parts["password"])
        with pytest.raises(Denied, match="frank"):  # olga answers for the purpose
            await contain(w.env, mine(w, "olga"), row.id, "leaked", agent=True)
        assert (await w.store.get(Task, task.id)).state is TaskState.OPEN
        await contain(w.env, mine(w, "frank"), row.id, "leaked", agent=True)
        assert (await w.env.frozen()).found(Reach.AGENT, "bot")

    run(main())


def test_what_was_not_recognised_is_not_contained(run):
    async def main():
        w, _, _ = await house(stop=False)
        row = await report(w.env, w.operator(), Found(Severity.HIGH, Subject.SECRET, "stripe", "somebody says so"))
        with pytest.raises(WrongState, match="by its bytes"):
            await contain(w.env, w.operator(), row.id, "leaked")
        with pytest.raises(Absent):
            await contain(w.env, mine(w, "olga"), row.id, "leaked")

    run(main())


@pytest.mark.parametrize("times", [2, 8])
def test_contained_by_many_at_once_it_is_contained_once(run, times):
    async def main():
        w, call, task = await house(stop=False)
        _, minted = await issue(w.env, call, task.id, "db")
        for row in await found(w, minted.parts["password"], PASSWORD):
            done = await asyncio.gather(*(contain(w.env, w.operator(), row.id, "leaked") for _ in range(times)))
            assert len({one.version for one in done}) == 1
        assert w.events().count("FindingContained") == 2
        assert len(await w.store.find(Approval, {})) == 1

    run(main())


def test_a_mint_in_flight_leaves_no_live_credential_of_what_was_contained(run):
    """The lease is durable, its issuer has not answered; meanwhile the secret it will hold is contained."""

    async def main():
        w, call, task = await house(stop=False)
        (row,) = await found(w, PASSWORD)
        real, gate = w.env.issuer, asyncio.Event()

        class Slow:
            def __init__(self, inner):
                self.inner = inner

            async def mint(self, lease):
                minted = await self.inner.mint(lease)
                await gate.wait()
                return minted

            async def kill(self, lease):
                await self.inner.kill(lease)

        w.env = replace(w.env, issuer=lambda config: Slow(real(config)))
        minting = asyncio.create_task(issue(w.env, call, task.id, "token"))
        while not await w.store.find(Lease, {"state": "reserved"}):
            await asyncio.sleep(0)
        done = await contain(w.env, w.operator(), row.id, "leaked")
        await agreed(w, done)
        await tend_findings(w.env, w.clock.now)
        gate.set()
        with pytest.raises(Denied):
            await minting
        (lease,) = await w.store.find(Lease, {})
        (version,) = await seal.versions(w.env, "stripe")
        assert not (version.state is SecretState.RETIRED and lease.state is not LeaseState.ENDED)
        w.clock.advance(31_000)
        await settle(w)
        (lease,) = await w.store.find(Lease, {})
        assert lease.state is LeaseState.ENDED
        (version,) = await seal.versions(w.env, "stripe")
        assert version.state is SecretState.RETIRED

    run(main())


def test_a_reservation_between_the_reads_and_the_commit_of_a_containment_dies_too(run):
    async def main():
        store = Between(Finding)
        w, call, task = await house(store, stop=False)
        (row,) = await found(w, PASSWORD)
        store.then = lambda: issue(w.env, call, task.id, "token")
        await contain(w.env, w.operator(), row.id, "leaked")
        await settle(w)
        (lease,) = await w.store.find(Lease, {})
        assert lease.state is LeaseState.ENDED
        with pytest.raises(Denied):
            await issue(w.env, call, task.id, "token")

    run(main())


def test_a_version_that_is_retired_between_the_reads_and_the_commit_is_not_asked_about(run):
    async def main():
        store = Between(Finding)
        w, _, _ = await house(store, stop=False)
        (row,) = await found(w, PASSWORD)
        store.then = lambda: seal.retire(w.env, w.operator(), "stripe", 1, "by hand")
        done = await contain(w.env, w.operator(), row.id, "leaked")
        assert done.approval == "" and not await w.store.find(Approval, {})

    run(main())


def test_after_a_crash_at_any_commit_it_is_done_in_the_end(run):
    async def main():
        for fault in range(6):
            store = FaultyStore(MemoryStore())
            w, call, task = await house(store, stop=False)
            await issue(w.env, call, task.id, "token")
            (row,) = await found(w, PASSWORD)
            store.faults = [""] * fault + ["persisted", "lost"]
            for _ in range(4):
                try:
                    row = await contain(w.env, w.operator(), row.id, "leaked")
                    break
                except Exception as lost:
                    assert type(lost).__name__ == "StoreUnavailable"
            for _ in range(3):
                try:
                    await settle(w)
                    break
                except Exception as lost:
                    assert type(lost).__name__ == "StoreUnavailable"
            store.faults = []
            row = await store.get(Finding, row.id)
            await agreed(w, row)
            await settle(w)
            assert (await seal.versions(w.env, "stripe"))[0].state is SecretState.RETIRED
            assert (await store.get(Finding, row.id)).reached_at
            assert {one.state for one in await store.find(Lease, {})} == {LeaseState.ENDED}

    run(main())


def test_who_always_loses_is_told_to_try_again(run):
    async def main():
        store = Losing()
        w, _, _ = await house(store, stop=False)
        (row,) = await found(w, PASSWORD)
        store.losing = Finding
        with pytest.raises(Busy):
            await contain(w.env, w.operator(), row.id, "leaked")

    run(main())


def test_leaks_are_written_and_read():
    for kind in LeakKind:
        assert Leak.parse(str(Leak(kind, "a:b/3"))) == Leak(kind, "a:b/3")
    assert parse(changed()).undoers == ()


def test_who_is_to_agree_must_be_somebody():
    text = changed()["remit.toml"] + '[findings]\napprovers = ["nobody"]\n'
    with pytest.raises(BadCatalogue, match="nobody"):
        parse(changed(remit_dot_toml=text))


def test_what_is_dead_already_needs_nothing_more(run):
    async def main():
        w, call, task = await house(stop=False)
        _, minted = await issue(w.env, call, task.id, "db")
        await end_task(w.env, call, task.id, "done")
        await end_leases(w.env, w.clock.now)
        (row,) = await found(w, minted.parts["password"])
        await contain(w.env, w.operator(), row.id, "leaked")
        assert not (await w.env.frozen()).freezes
        await settle(w)
        assert (await w.store.get(Finding, row.id)).reached_at

    run(main())


def test_it_has_reached_everything_only_when_the_issuer_has_confirmed(run):
    async def main():
        w, call, task = await house(stop=False)
        _, minted = await issue(w.env, call, task.id, "db")
        (row,) = await found(w, minted.parts["password"])
        w.issuer.faults = ["kill-before"]
        await contain(w.env, w.operator(), row.id, "leaked")
        for _ in range(3):
            await tend_findings(w.env, w.clock.now)
            await end_leases(w.env, w.clock.now)
        assert w.issuer.live and not (await w.store.get(Finding, row.id)).reached_at
        assert (await live(w.env, row, w.clock.now)) is Live.YES
        w.clock.advance(10_000)
        await settle(w)
        assert not w.issuer.live and (await w.store.get(Finding, row.id)).reached_at == w.clock.now

    run(main())


def test_an_envelope_that_cannot_be_opened_hides_no_other(run):
    async def main():
        w, *_ = await house(stop=False)
        elsewhere = replace(w.env, sealer=RootSealer(b"x" * 32))
        await seal.seal(elsewhere, w.operator(), "another", b"sealed-under-another-root-key")
        assert [row.leak for row in await found(w, PASSWORD, "sealed-under-another-root-key")] == ["secret:stripe/1"]

    run(main())


def test_edges_and_receivers_of_signals_are_told_as_of_any_other_end(run):
    """The task ends in the commit of the containment, and there is no `TaskEnded` besides."""

    async def main():
        w, call, task = await house(stop=False)
        _, minted = await issue(w.env, call, task.id, "db")
        (row,) = await found(w, minted.parts["password"])
        await contain(w.env, w.operator(), row.id, "leaked")
        leaf = next(leaf for leaf, _ in reversed(w.store._events) if b"FindingContained" in leaf)
        told = await occurrence(w.env, json.loads(leaf))
        assert told.agent == "bot" and told.subject["session"] == {"format": "opaque", "id": task.id}
        assert not [one for one in frames.told(7, leaf) if one.name == "ended"]  # it was at the centre
        at_edge = leaf.replace(b'"home":""', b'"home":"west"')
        assert [one.value for one in frames.told(7, at_edge) if one.name == "ended"] == [[task.id, "revoked"]]
        (static,) = [one for one in await found(w, PASSWORD) if one.subject is Subject.SECRET]
        await contain(w.env, w.operator(), static.id, "leaked")
        leaf = next(leaf for leaf, _ in reversed(w.store._events) if b"FindingContained" in leaf)
        assert await occurrence(w.env, json.loads(leaf)) is None

    run(main())
