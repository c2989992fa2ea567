"""What an edge believes: what the centre signed, for it, in order, and only as long as it asked lately."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from remit.domain.caller import CallerKind
from remit.domain.errors import BadToken, NotEntrusted, StoreUnavailable, Unavailable
from remit.domain.freeze import Reach
from remit.formats import estate as statements
from remit.formats import signing_key
from remit.formats.estate import Said, Signed, Statement
from remit.formats.jws import SigningKey
from remit.verbs.entrust import recall
from remit.verbs.freeze import freeze, unfreeze
from remit.verbs.observe import observe
from remit.verbs.revoke import end_task
from remit.verbs.rotate import replace_now, rotate
from tests.edge.estate import catalogue
from tests.edge.pair import URL

STRANGER = signing_key.generate("ES256")


def forged(both, found: Statement, issuer: str = "", kid: str = "") -> Signed:
    """A statement by a key that is not the centre's, which says that it is."""
    key = SigningKey(kid or both.centre.env.signer.signing("token"), "ES256", STRANGER.sign)
    return statements.encode(found, issuer or both.centre.url, key)


def true(both, found: Statement, issuer: str = "") -> Signed:
    return statements.encode(found, issuer or both.centre.url, both.centre.env.token_key())


async def frames(both, since: int) -> list[Signed]:
    await both.log_caught_up()
    return [frame.signed for frame in await both.centre.frames.pages(since)]


def follow(both):
    return both.work._follow


async def ended(both, task) -> None:
    await end_task(both.centre.env, both.call(), task.id, "enough")


def test_a_forged_frame_moves_nothing(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        before = follow(both).size
        lie = Statement(Said.FRAME, before, before + 5, 0, {"ended": [[task.id, "revoked"]]})
        for signed in (
            forged(both, lie),
            forged(both, lie, kid="other"),
            true(both, lie, issuer="https://evil.example"),
        ):
            with pytest.raises(BadToken):
                await follow(both).apply(signed)
        good = true(both, lie)
        with pytest.raises(BadToken):
            await follow(both).apply(Signed(good.statement, good.body.replace("revoked", "closed")))
        for said in (Said.BEAT, Said.SNAPSHOT, Said.ENTRUSTED):
            with pytest.raises(BadToken):
                await follow(both).apply(true(both, replace(lie, said=said)))
        with pytest.raises(BadToken):
            await follow(both).apply(true(both, replace(lie, edge="east", nonce="n")))
        assert follow(both).size == before
        assert (await both.decide(task))["decision"] == "permit"

    centre.run(test)


def test_frames_apply_in_order_and_an_old_one_takes_nothing_back(centre):
    async def test(both):
        start = follow(both).size
        await freeze(both.centre.env, both.call(), Reach.PURPOSE, "part", "look")
        first = await frames(both, start)
        size = statements.parse(first[-1], Said.FRAME, issuer=both.centre.url, keys=follow(both)._keys).size
        await unfreeze(both.centre.env, both.call(), Reach.PURPOSE, "part", "fine")
        second = await frames(both, size)
        assert not await follow(both).apply(second[0])  # what is before it is missing
        assert follow(both).size == start
        for frame in (*first, *second, *first):
            assert await follow(both).apply(frame)
        assert not (await both.edge.env.frozen()).freezes
        await freeze(both.centre.env, both.call(), Reach.AGENT, "other", "look")
        for frame in await frames(both, follow(both).size):
            await follow(both).apply(frame)
        for frame in (*second, *first):
            assert await follow(both).apply(frame)
        assert [one.target for one in (await both.edge.env.frozen()).freezes] == ["agent other"]
        await unfreeze(both.centre.env, both.call(), Reach.AGENT, "other", "fine")

    centre.run(test)


def test_what_was_dropped_is_asked_for_and_until_then_the_edge_is_not_fresh(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        await both.told()
        start = follow(both).size
        await ended(both, task)
        dropped = await frames(both, start)
        end = statements.parse(dropped[-1], Said.FRAME, issuer=both.centre.url, keys=follow(both)._keys).size
        both.between.on("/v1/estate/frames", lambda status, body: (200, {"frames": []}))
        body_less = lambda status, body: (503, {"code": "RMT-6000", "detail": "not now"})  # noqa: E731
        assert not await follow(both).apply(true(both, Statement(Said.FRAME, end, end + 1, 0, {})))
        both.boot.now += 5_001
        both.between.on("/v1/estate/beats", body_less)
        with pytest.raises(Unavailable):
            await both.work.beat()
        await both.work.pull()
        assert (await both.decide(task))["why"][0]["code"] == "edge_stale"
        both.between.changes.clear()
        await both.told()
        assert both.work.status()["age_ms"] == 0
        said = await both.decide(task)
        assert said["decision"] == "deny" and said["why"][0]["code"] == "task_not_open"

    centre.run(test)


def test_a_length_makes_nothing_fresh_before_all_of_it_is_applied(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        both.boot.now += 5_001
        await ended(both, task)
        await both.log_caught_up()
        size, _ = await both.centre.log.head()

        def only_the_length(status, body):
            nonce = json.loads(both.between.asked[-1][1])["nonce"]
            made = true(both, Statement(Said.BEAT, size, size, 0, {}, "east", nonce))
            return 200, {"statement": made.statement, "body": made.body, "received": body["received"]}

        both.between.on("/v1/estate/beats", only_the_length)
        both.between.on("/v1/estate/frames", lambda status, body: (200, {"frames": []}))
        await both.work.beat()
        await both.work.pull()
        assert both.work.status()["age_ms"] > 5_000
        assert (await both.decide(task))["why"][0]["code"] == "edge_stale"
        del both.between.changes["/v1/estate/frames"]
        await both.work.pull()
        assert both.work.status()["age_ms"] == 0
        assert (await both.decide(task))["why"][0]["code"] == "task_not_open"

    centre.run(test)


def test_only_the_answer_to_this_very_question_makes_it_fresh(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        old = next(body for path, body in both.between.seen if path == "/v1/estate/beats")
        both.boot.now += 5_001
        for what in ("replayed", "of another edge", "of another kind", "forged", "without a nonce"):

            def swap(status, body, what=what):
                nonce, size = json.loads(both.between.asked[-1][1])["nonce"], follow(both).size
                said = Statement(Said.BEAT, size, size, 0, {}, "east", nonce)
                made = {
                    "of another edge": true(both, replace(said, edge="west")),
                    "of another kind": true(both, replace(said, said=Said.SNAPSHOT)),
                    "forged": forged(both, said),
                    "without a nonce": true(both, replace(said, nonce="")),
                }.get(what)
                found = {"statement": made.statement, "body": made.body} if made else old
                return 200, {**found, "received": body["received"]}

            both.between.on("/v1/estate/beats", swap)
            with pytest.raises(BadToken):
                await both.work.beat()
            assert (await both.decide(task))["why"][0]["code"] == "edge_stale", what

    centre.run(test)


def test_an_answer_that_comes_late_is_as_old_as_its_question(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)

        def late(status, body):
            both.boot.now += 3_000
            return status, body

        both.between.on("/v1/estate/beats", late)
        both.boot.now += 10_000
        await both.work.beat()
        assert both.work.status()["age_ms"] == 3_000
        assert (await both.decide(task))["decision"] == "permit"
        both.boot.now += 2_001
        assert (await both.decide(task))["why"][0]["code"] == "edge_stale"
        assert both.edge.env.place == "east"

    centre.run(test)


def test_a_pause_between_the_decision_and_the_answer_takes_the_permit_back(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        store = both.edge.env.store
        commit = store.commit

        async def slow(change):
            number = await commit(change)
            if type(change.because).__name__ == "AccessDecided":
                both.boot.now += 5_001
            return number

        store.commit = slow
        said = await both.decide(task)
        store.commit = commit
        assert said["decision"] == "deny" and said["why"][0]["code"] == "edge_stale"
        await both.told()
        await both.work.report()
        assert (await both.there(task)).calls == 2  # it was spent, and left nobody's hands

    centre.run(test)


def test_the_catalogue_is_the_one_of_the_digest_that_was_signed(centre):
    async def test(both):
        head, _ = await both.edge.env.in_force()
        from remit.verbs.apply import apply

        files = catalogue(URL, stale="5s")
        files["tools/list.toml"] += 'title = "Other"\n'
        await apply(both.centre.env, both.call(), files)

        def other(status, body):
            body["files"]["policies/default.cedar"] = "permit (principal, action, resource);"
            return status, body

        both.between.on("/v1/estate/catalogues", other)
        both.boot.now += 5_001
        await both.log_caught_up()
        with pytest.raises(BadToken):
            await both.work.beat()
        with pytest.raises(BadToken):
            await both.work.pull()
        assert (await both.edge.env.in_force())[0].digest == head.digest
        assert both.work.status()["age_ms"] > 5_000
        both.between.changes.clear()
        await both.told()
        assert (await both.edge.env.in_force())[0].digest != head.digest

    centre.run(test)
    centre.furnish()


def test_the_next_keys_are_trusted_because_the_former_said_so(centre):
    async def test(both):
        await rotate(both.centre.env, both.call(), "token")
        await both.told()
        kids = {key["kid"] for key in both.edge.env.signer.public("token")}
        assert kids == {key["kid"] for key in both.centre.env.signer.public("token")} and len(kids) == 2
        next_key = {**STRANGER.public.jwk, "kid": "x", "alg": "ES256", "use": "sig"}
        size = follow(both).size
        with pytest.raises(BadToken):
            await follow(both).apply(
                forged(both, Statement(Said.FRAME, size, size + 1, 0, {"keys": [next_key]}), kid="x")
            )
        assert {key["kid"] for key in both.edge.env.signer.public("token")} == kids

    centre.run(test)


def test_a_centre_whose_keys_were_all_destroyed_has_to_be_enrolled_again(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        await replace_now(both.centre.env, both.call(), "token", "stolen")
        await both.log_caught_up()
        both.boot.now += 5_001
        for one in (both.work.beat, both.work.pull):
            with pytest.raises(BadToken):
                await one()
        assert (await both.decide(task))["why"][0]["code"] == "edge_stale"

    centre.run(test, data="burnt")

    async def again(both):  # `pair` enrols it by the keys that there are now
        assert both.work.status()["age_ms"] == 0

    centre.run(again, data="burnt")


def test_a_centre_whose_log_went_back_is_not_believed_again(centre):
    async def test(both):
        nonce = lambda: json.loads(both.between.asked[-1][1])["nonce"]  # noqa: E731

        def shorter(status, body):
            said = Statement(Said.BEAT, 1, 1, 0, {}, "east", nonce())
            made = true(both, said)
            return 200, {"statement": made.statement, "body": made.body, "received": body["received"]}

        both.between.on("/v1/estate/beats", shorter)
        with pytest.raises(BadToken):
            await both.work.beat()
        both.between.changes.clear()
        await both.work.beat()
        assert both.work.status()["age_ms"] == -1

    centre.run(test)


@pytest.mark.parametrize("how", ["ended", "recalled"])
def test_what_was_told_while_a_task_was_asked_for_is_not_forgotten(centre, how):
    async def test(both):
        task = await both.task()
        entrust = both.work._centre.entrust

        async def slow(name, seat, nonce):
            handed = await entrust(name, seat, nonce)
            if how == "ended":
                await ended(both, task)
            else:
                await recall(both.centre.env, both.call(CallerKind.ENFORCER, "gate"), task.id, "wanted")
            await both.told()  # before the answer is here
            return handed

        both.work._centre.entrust = slow
        try:
            with pytest.raises(NotEntrusted):
                await both.work.take(task.id)
        finally:
            both.work._centre.entrust = entrust
        assert both.work._take._memories._memories == {}
        await both.work.report()
        there = await both.there(task)
        assert there.home == "" or there.state.value == "revoked"

    centre.run(test)


def test_a_task_that_was_not_handed_to_this_edge_now_is_not_taken(centre):
    async def test(both):
        other = await both.task()
        for flaw in ("another edge", "another nonce", "another task", "less that was read"):
            task = await both.task()
            await observe(both.centre.env, both.caller(task), task.id, "list", {"a": "x@y.example"})

            def swap(status, body, flaw=flaw):
                nonce = json.loads(both.between.asked[-1][1])["nonce"]
                found = json.loads(body["body"])
                if flaw == "another task":
                    found["task"]["id"] = other.id
                if flaw == "less that was read":
                    found["observations"] = []
                said = Statement(Said.ENTRUSTED, 0, follow(both).size, 0, found, "east", nonce)
                said = replace(said, edge="west") if flaw == "another edge" else said
                said = replace(said, nonce="0" * 32) if flaw == "another nonce" else said
                made = true(both, said)
                return 200, {"statement": made.statement, "body": made.body, "memory": body["memory"]}

            both.between.on(f"/v1/estate/tasks/{task.id}/entrust", swap)
            with pytest.raises(Unavailable):
                await both.work.take(task.id)
            assert await both.here(task) is None, flaw
            both.between.changes.clear()
            assert (await both.decide(task))["decision"] == "permit"

    centre.run(test)


def test_who_is_no_edge_any_more_decides_nothing(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        from remit.verbs.apply import apply

        files = {**catalogue(URL, stale="5s")}
        files["remit.toml"] = files["remit.toml"].replace("edges.east", "edges.north")
        await apply(both.centre.env, both.call(), files)
        with pytest.raises(Unavailable, match="let this edge in"):
            await both.work.beat()
        with pytest.raises(Unavailable, match="let this edge in"):  # not even for the catalogue that it is not in
            for frame in await frames(both, follow(both).size):
                await follow(both).apply(frame)
        both.boot.now += 5_001
        with suppress(Unavailable):  # or it was called home meanwhile
            assert (await both.decide(task))["why"][0]["code"] == "edge_stale"

    centre.run(test)
    centre.furnish()


def test_no_permit_is_later_than_the_bound_whatever_the_network_does(centre):
    """The law, over random schedules: revocations, lost and late answers, replays, and time that passes."""

    async def test(both):
        dice = random.Random(7)
        old: list[Signed] = []
        tasks, revoked = {}, {}
        for _ in range(6):
            task = await both.task()
            tasks[task.id] = task
        for _ in range(160):
            step = dice.randrange(8)
            task = dice.choice(list(tasks.values()))
            if step == 0 and task.id not in revoked:
                await ended(both, task)
                revoked[task.id] = both.boot.now
            elif step == 1:
                both.boot.now += dice.choice((10, 900, 2_600))
            elif step == 2:
                both.between.up = dice.random() < 0.6
            elif step == 3:
                late = dice.choice((0, 0, 1_500, 4_900, 6_000))

                def slow(status, body, late=late):
                    both.boot.now += late
                    return status, body

                both.between.on("/v1/estate/beats", slow)
            try:
                if step == 4:
                    await both.work.beat()
                elif step == 5:
                    await both.work.pull()
                elif step == 6:
                    old += await frames(both, max(0, follow(both).size - dice.randrange(20)))
                    for frame in dice.sample(old, min(3, len(old))):
                        await follow(both).apply(frame)
                said = await both.decide(task)
            except (Unavailable, StoreUnavailable, BadToken):
                continue
            if said["decision"] == "permit" and task.id in revoked:
                assert both.boot.now - revoked[task.id] <= 5_000, "permitted after the bound"
            if task.id in revoked and len(tasks) < 12:
                more = await both.task()
                tasks[more.id] = more

    centre.run(test)


def test_a_centre_is_known_by_the_keys_that_were_pinned(centre):
    async def test(both):
        before = follow(both)._pins
        stranger = {**STRANGER.public.jwk, "kid": "x", "alg": "ES256", "use": "sig"}
        fresh = type(follow(both))(
            both.edge.env, both.work._centre, both.work._freshness, ("other",), lambda keys: None
        )

        def impostor(status, body):
            said = json.loads(body["body"])
            nonce = json.loads(both.between.asked[-1][1])["nonce"]
            found = Statement(Said.SNAPSHOT, 0, 1, 0, {**said, "keys": [stranger]}, "east", nonce)
            made = forged(both, found, kid="x")
            return 200, {"statement": made.statement, "body": made.body}

        with pytest.raises(BadToken):  # the true centre, by keys that nobody pinned here
            await fresh.join()
        fresh._pins = before
        both.between.on("/v1/estate/snapshot", impostor)
        fresh._env = replace(fresh._env, store=type(fresh._env.store).open(centre._tmp / "empty.db"))
        with pytest.raises(BadToken):
            await fresh.join()
        both.between.changes.clear()
        await fresh.join()
        assert fresh.ready
        await fresh._env.store.close()

    centre.run(test)
