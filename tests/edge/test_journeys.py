"""A task's way to an edge and home: what travels with it, what a crash or a lost answer may not lose, and what stays."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from contextlib import suppress
from hashlib import sha256

import httpx
import pytest

from remit.domain.caller import AccessKey, CallerKind
from remit.domain.errors import NotHome, StoreUnavailable, Unavailable
from remit.domain.estate import Held
from remit.verbs.admit import admit
from remit.verbs.join import forget
from remit.web.app import create_app
from remit.web.edge import EDGE_ROUTES
from remit.web.shapes import ObservationRequest
from remit.work.edge.let_go import let_go
from tests.edge.estate import catalogue
from tests.edge.pair import URL
from tests.web.test_observations import FILES as MAIL
from tests.web.test_observations import INJECTED


async def logs(both):
    """(the edge's decisions and results, in order; what the centre has of them, with their places)."""
    await both.work.report()
    await both.log_caught_up()
    size, _ = await both.edge.log.head()
    here = [json.loads(leaf) for leaf in await both.edge.log.entries(0, size)]
    size, _ = await both.centre.log.head()
    seat = both.work.status()["seat"]
    there = [json.loads(leaf) for leaf in await both.centre.log.entries(0, size)]
    there = [e for e in there if e.get("via", {}).get("seat") == seat]
    return here, there


async def nothing_lost(both):
    here, there = await logs(both)
    kinds = ("AccessDecided", "ResultObserved")
    told = [(place, e["data"]) for place, e in enumerate(here) if e["type"] in kinds]
    assert [(e["via"]["index"], e["data"]) for e in there] == told
    return told


def tellable(both):
    """Let the edge's report pass run beside what waits for it."""

    async def again():
        while True:
            with suppress(Unavailable, StoreUnavailable):
                await both.work.report()
            await asyncio.sleep(0.005)

    return asyncio.create_task(again())


async def read(both, task, content, where=None):
    house = where or both.edge
    return await house.observed(both.caller(task), task.id, ObservationRequest("issues", content), 500)


def test_what_was_read_is_known_wherever_the_task_is_decided_next(centre):
    files = dict(MAIL)
    edge = catalogue(URL, stale="5s")["remit.toml"].partition("[edges.east]")
    files["remit.toml"] += "\n[edges.east]" + edge[2]
    centre.furnish(files)

    async def test(both):
        passes = tellable(both)
        task = await both.task(purpose="mail", parameters={})
        said = await both.decide(task, "issues", repository="public/site")
        assert said["decision"] == "permit"
        assert (await read(both, task, [{"type": "text", "text": INJECTED}]))["trust"] == "untrusted"
        assert (await both.there(task)).home == "east"
        held = await both.decide(task, "send", to="eve@evil.example", body="as asked")
        assert held["decision"] == "hold"
        assert {why["policy"] for why in held["why"]} == {"untrusted-content-does-not-steer"}
        assert (await both.there(task)).home == ""
        there = await both.there(task)
        assert there.observed == 1 and there.label.trust.word == "untrusted"
        # The other way: read at the centre, judged at the edge.
        other = await both.task(purpose="mail", parameters={})
        await read(both, other, [{"type": "text", "text": INJECTED}], where=both.centre)
        permitted = await both.decide(other, "issues", repository="public/site")
        assert permitted["decision"] == "permit" and (await both.there(other)).home == "east"
        held = await both.decide(other, "send", to="eve@evil.example", body="as asked")
        assert {why["policy"] for why in held["why"]} == {"untrusted-content-does-not-steer"}
        passes.cancel()
        here, _ = await logs(both)
        words = [e["data"]["origin"] for e in here if e["type"] == "AccessDecided"]
        assert words  # decided here, and by what was read there
        kept = b"".join(path.read_bytes() for path in centre._tmp.rglob("*") if path.is_file())
        assert b"canary-8431" not in kept

    centre.run(test)
    centre.furnish()


def test_the_key_that_digests_what_is_read_is_nowhere_in_the_clear(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        memory = both.centre.env.sealer.derive(task.memory)
        assert both.edge.env.sealer.derive(task.memory) == memory
        for path in centre._tmp.rglob("*"):
            if path.is_file():
                kept = path.read_bytes()
                for form in (memory, base64.b64encode(memory), base64.urlsafe_b64encode(memory), memory.hex().encode()):
                    assert form.rstrip(b"=") not in kept, path
        row = await both.edge.env.store.get(Held, task.id)
        assert row.memory and memory not in row.memory.encode()
        await both.work._env.store.get(Held, task.id)
        from remit.verbs.revoke import end_task

        await end_task(both.centre.env, both.call(), task.id, "done")
        await both.told()
        await both.work.report()
        gone = await both.edge.env.store.get(Held, task.id)
        assert gone.state == "gone" and gone.memory == ""
        with pytest.raises(StoreUnavailable):
            both.edge.env.sealer.derive(task.memory)

    centre.run(test)


def lost(times=1):
    """The answer is lost on its way, so many times."""
    left = [times]

    def change(status, body):
        if left[0]:
            left[0] -= 1
            raise httpx.ReadError("cut")
        return status, body

    return change


def test_answers_that_are_lost_lose_nothing_and_do_nothing_twice(centre):
    async def test(both):
        task = await both.task()
        both.between.on("/v1/estate/tasks", lost())
        with pytest.raises(Unavailable):
            await both.decide(task)
        assert (await both.there(task)).home == "east"  # entrusted, and the edge does not know
        for _ in range(3):
            assert (await both.decide(task))["decision"] == "permit"
        both.between.on("/v1/estate/reports", lost())
        with pytest.raises(Unavailable):
            await both.work.report()
        both.between.on("/v1/estate/tasks", lost(2))
        waiting = asyncio.create_task(both.work.bring_home(both.caller(task), task.id, "wanted"))
        passes = tellable(both)
        await waiting
        passes.cancel()
        assert (await both.there(task)).home == "" and (await both.there(task)).calls == 3
        await nothing_lost(both)

    centre.run(test)


def test_a_return_that_comes_late_returns_nothing_that_was_taken_again(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        passes = tellable(both)
        await both.work.bring_home(both.caller(task), task.id, "wanted")
        late = next(body for path, body in both.between.asked if path.endswith("/return"))
        both.work._elsewhere.clear()
        assert (await both.decide(task))["decision"] == "permit"
        passes.cancel()
        await both.work.report()
        answer = await both.work._centre._http.post(f"/v1/estate/tasks/{task.id}/return", content=late, headers=JSON)
        assert answer.status_code == 409
        assert (await both.there(task)).home == "east"

    centre.run(test)


def test_a_task_that_was_returned_is_taken_again_only_when_that_has_been_reported(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        await let_go(both.edge.env, both.call(CallerKind.SYSTEM, "test"), task.id, "wanted")
        await both.work.report()
        assert (await both.there(task)).home == ""
        assert not both.work._report.may_take(task.id)
        await both.work.report()
        assert both.work._report.may_take(task.id)

    centre.run(test)


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("fault", [pytest.param("lost", marks=pytest.mark.soak), "persisted"])
@pytest.mark.parametrize("event", ["TaskTaken", "TaskLetGo", "TaskReturned", "AccessDecided", "Followed"])
def test_a_store_that_fails_at_any_step_goes_on_from_there(centre, event, fault):
    async def test(both):
        store, left = both.edge.env.store, [1]
        commit = store.commit

        async def failing(change):
            hit = type(change.because).__name__ == event and left[0]
            left[0] -= bool(hit)
            if hit and fault == "lost":
                raise StoreUnavailable("The store failed.")
            number = await commit(change)
            if hit:
                raise StoreUnavailable("The store failed.")
            return number

        store.commit = failing
        task = await both.task()
        permits = 0
        for _ in range(4):
            try:
                permits += (await both.decide(task))["decision"] == "permit"
            except Unavailable:
                continue
        if event == "Followed":
            from remit.domain.freeze import Reach
            from remit.verbs.freeze import freeze, unfreeze

            await freeze(both.centre.env, both.call(), Reach.AGENT, "other", "look")
            with pytest.raises(Unavailable):
                await both.told()
            await both.told()
            assert (await both.edge.env.frozen()).freezes
            await unfreeze(both.centre.env, both.call(), Reach.AGENT, "other", "fine")
        passes = tellable(both)
        for _ in range(3):
            try:
                await both.work.bring_home(both.caller(task), task.id, "wanted")
                break
            except Unavailable:
                continue
        passes.cancel()
        store.commit = commit
        there = await both.there(task)
        assert not left[0] and there.home == "" and permits >= 3
        assert permits <= there.calls <= permits + 1
        await nothing_lost(both)

    centre.run(test)


def test_an_edge_goes_on_where_its_store_is(centre):
    held = []

    async def before(both):
        task = await both.task()
        for _ in range(3):
            await both.decide(task)
        held.append(task)

    async def after(both):
        assert both.work.status()["age_ms"] == 0
        assert (await both.decide(held[0]))["decision"] == "permit"
        assert (await both.there(held[0])).home == "east"
        await both.work.report()
        assert (await both.there(held[0])).calls == 4
        await nothing_lost(both)

    centre.run(before, data="kept")
    centre.run(after, data="kept")


def test_what_a_lost_store_held_stays_closed_until_the_edge_is_forgotten(centre):
    held = []

    async def before(both):
        held.append(await both.task())
        await both.decide(held[0])

    async def after(both):
        with pytest.raises(NotHome):
            await both.decide(held[0])
        with pytest.raises(NotHome):
            await both.decide_at_centre(held[0])
        await forget(both.centre.env, both.call(), "east", "its disk is gone")
        assert (await both.there(held[0])).state.value == "revoked"

    centre.run(before, data="first")
    centre.run(after, data="second")


def test_a_store_from_a_backup_is_not_believed(centre):
    async def before(both):
        await both.decide(await both.task())
        await both.work.report()

    async def more(both):
        await both.decide(await both.task())
        await both.work.report()

    async def restored(both):
        raise AssertionError("it joined")

    centre.run(before, data="saved")
    shutil.copytree(centre._tmp / "saved", centre._tmp / "copy")
    centre.run(more, data="saved")
    with pytest.raises(Exception, match="taken in more"):
        centre.run(restored, data="copy")


def test_too_much_unheard_and_it_decides_nothing_more(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        both.between.up = False
        with pytest.raises(Unavailable, match="not been reported"):
            for _ in range(30):
                await both.decide(task)
                await both.work._report.extend()
        both.between.up = True
        await both.work.report()
        assert (await both.decide(task))["decision"] == "permit"

    centre.run(test, backlog=20)


def test_a_full_disk_lets_no_permit_out_and_recovers_by_itself(centre):
    async def test(both):
        task = await both.task()
        await both.decide(task)
        store = both.edge.env.store
        pages = await store._durably(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        await store._durably(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 2}"))
        permits, refused = 0, 0
        for _ in range(60):
            try:
                permits += (await both.decide(task))["decision"] == "permit"
            except StoreUnavailable:
                refused += 1
                break
        assert refused  # and the next connection may grow again
        assert (await both.decide(task))["decision"] == "permit"
        await both.work.report()
        assert (await both.there(task)).calls == permits + 2
        await nothing_lost(both)

    centre.run(test)


def test_who_may_ask_an_edge(centre):
    async def test(both):
        app = httpx.ASGITransport(create_app(both.edge, EDGE_ROUTES))
        keys = {}
        for kind in (CallerKind.ENFORCER, CallerKind.OPERATOR, CallerKind.AUDITOR, CallerKind.EDGE):
            name = "east" if kind is CallerKind.EDGE else "who"
            keys[kind], _ = await admit(both.centre.env, both.call(), kind, name, 3_600_000)
        task = await both.task()
        asked = {"tool": "list", "arguments": {"customer": "acme"}}
        async with httpx.AsyncClient(transport=app, base_url=URL) as http:

            async def call(key):
                return await http.post(
                    f"/v1/tasks/{task.id}/calls", json=asked, headers={"Authorization": f"Bearer {key}"}
                )

            assert (await call(keys[CallerKind.ENFORCER])).json()["decision"] == "permit"
            for kind in (CallerKind.OPERATOR, CallerKind.AUDITOR, CallerKind.EDGE):
                assert (await call(keys[kind])).status_code == 401
            before = len(both.between.asked)
            for _ in range(5):
                assert (await call("key_enforcer_" + "0" * 32)).status_code == 401
            assert len(both.between.asked) == before + 1  # a stranger is asked about once
            text = "key_operator_" + "2" * 32
            row = AccessKey(sha256(text.encode()).hexdigest(), CallerKind.OPERATOR, "op", 0, 2**50)
            said = {"digest": row.digest, "kind": "operator", "name": "op", "created_at": 0, "expires_at": 2**50}
            both.between.on("/v1/estate/keys", lambda status, body: (200, said))
            metrics = {"Authorization": f"Bearer {text}"}
            assert (await http.get("/metrics", headers=metrics)).status_code == 401  # not even if the centre says so
            both.between.changes.clear()
            both.between.up = False
            assert (await call(keys[CallerKind.ENFORCER])).json()["decision"] == "permit"  # known by now
            assert (await call("key_enforcer_" + "1" * 32)).status_code == 503
            for path in ("/v1/tasks", "/oauth/token", "/v1/catalogue", "/console", "/v1/estate/snapshot"):
                assert (await http.get(path)).status_code == 404
            evaluation = {
                "subject": {"type": "task", "id": "../x"},
                "action": {"name": "call"},
                "resource": {"type": "tool", "id": "list"},
            }
            bearer = {"Authorization": f"Bearer {keys[CallerKind.ENFORCER]}"}
            answer = await http.post("/access/v1/evaluation", json=evaluation, headers=bearer)
            assert answer.json()["context"]["reasons"][0]["code"] == "absent"

    centre.run(test)
