"""One process at a time runs the reconcilers: it dies, it is paused and wakes up, it leaves; what is theirs goes on."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import pytest

from remit.domain.lease import Lease, LeaseState
from remit.log.audit import Head, audit
from remit.store.postgres import PostgresStore
from remit.store.replay import replay
from remit.verbs.issue import issue
from remit.verbs.revoke import end_task
from remit.web.metrics import Metrics
from remit.work.driver import Driver
from tests.replicas.estate import estate, seconds_until
from tests.world import world


@pytest.fixture(scope="module")
def three(postgres, tmp_path_factory):
    with estate(postgres, tmp_path_factory.mktemp("replicas")) as found:
        with ThreadPoolExecutor(3) as pool:  # all at once, on an empty database
            list(pool.map(lambda _: found.start(), range(3)))
        found.furnish()
        yield found


def lease_of(agent):
    task, token = agent.task()
    answer = agent.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"})
    assert answer.status_code == 201, answer.text
    return task, token


def ended(replica, task):
    with replica.http("operator") as http:
        leases = http.get(f"/v1/tasks/{task}/leases").json()["items"]
        return leases and all(lease["state"] == "ended" for lease in leases)


def test_a_task_ended_at_one_replica_is_cleaned_up_by_another(three):
    holder = three.holder()
    (other, *_) = three.others(holder)
    agent = three.agent(other)
    task, token = lease_of(agent)
    assert agent.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"}).status_code == 200
    seconds_until(lambda: ended(other, task), 3)
    assert three.holder() is holder


class Seldom(Driver):
    """Looks once a minute, unless it is woken."""

    def _reconcilers(self, *given):
        return [replace(one, every=60.0) for one in super()._reconcilers(*given)]


def test_a_nudge_reaches_whoever_has_the_turn_and_so_does_what_is_urgent(run, postgres):
    async def main():
        with estate(postgres, None) as empty:
            here, there = await PostgresStore.open(empty.dsn), await PostgresStore.open(empty.dsn)
            w = await world(here, now=time.time_ns() // 10**6)
            has, asks = Seldom(w.clock, Metrics()), Seldom(w.clock, Metrics())
            mine = replace(w.env, nudge=has.nudge)
            has.start(mine, here, "remit.test/log", here.forget_spent)
            await until(lambda: has._turn.ours())
            theirs = replace(w.env, store=there, nudge=asks.nudge)
            asks.start(theirs, there, "remit.test/log", there.forget_spent)
            _, call = await w.proved()
            task = await w.task(call)
            lease, _ = await issue(theirs, call, task.id, "db")
            await asyncio.sleep(0.3)  # both have looked
            await end_task(theirs, call, task.id, "done")

            async def dead():
                return (await there.get(Lease, lease.id)).state is LeaseState.ENDED

            await until(dead, 20)

            async def placed():
                leaves = await there.entries(0, 10_000)
                return any(b'"TaskEnded"' in leaf for leaf in leaves)

            await until(placed, 20)
            assert has._turn.ours() and not asks._turn.ours()
            await has.stop()
            await until(lambda: asks._turn.ours(), 20)  # given, not waited for until it was over
            await asks.stop()
            await here.close()
            await there.close()

    run(main())


async def until(condition, seconds=5):
    async with asyncio.timeout(seconds):
        while not (await found if asyncio.iscoroutine(found := condition()) else found):
            await asyncio.sleep(0.01)


def taken_over(three, holder):
    """Seconds until another one has the turn."""
    return seconds_until(lambda: three.holder() not in (None, holder), 5)


def test_a_paused_holder_wakes_up_and_does_no_harm(three):
    stop, problems, heads = threading.Event(), [], []

    def work(replica):
        agent = three.agent(replica)
        while not stop.is_set():
            try:
                task, token = lease_of(agent)
                assert agent.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"}).status_code == 200
            except Exception as problem:
                problems.append(problem)
                return

    for _ in range(2):
        holder = three.holder()
        stop.clear()
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(work, one) for one in three.others(holder)]
            time.sleep(0.3)
            holder.child.send_signal(signal.SIGSTOP)
            try:
                assert taken_over(three, holder) <= 5  # three, on a machine that has time
                time.sleep(0.3)
            finally:
                holder.child.send_signal(signal.SIGCONT)
            heads.append(head(three.sql("SELECT note FROM log_head")[0][0]))
            time.sleep(0.5)
            stop.set()
            for job in jobs:
                job.result()
        assert three.holder() not in (None, holder) and not problems
    assert three.sql("SELECT number FROM turns")[0][0] >= 3
    whole(three, heads)


def head(note):
    _, size, root, *_ = note.split("\n")
    return Head(int(size), b64decode(root))


def whole(three, heads=()):
    """Every lease is dead, nothing was done twice, and the log is one, the continuation of what it was at `heads`."""
    waiting = "SELECT 1 FROM leases WHERE state <> 'ended' UNION SELECT 1 FROM events WHERE log_index IS NULL"
    seconds_until(lambda: not three.sql(waiting), 10)

    async def main():
        store = await PostgresStore.open(three.dsn)
        assert await replay(store) == []
        size, note = await store.head()
        entries = [leaf for at in range(0, size, 1000) for leaf in await store.entries(at, min(size, at + 1000))]
        await store.close()
        return head(note), entries

    newest, entries = asyncio.run(main())
    assert audit(entries, newest, heads).ok
    told = [msgspec.json.decode(leaf) for leaf in entries]
    dead = [one["data"]["lease"] for one in told if one["type"] == "LeaseEnded"]
    assert dead and len(dead) == len(set(dead))


def test_a_key_that_was_replaced_at_one_replica_is_no_key_at_another(three):
    one, other = three.others()[:2]
    agent = three.agent(other)
    task, token = agent.task()
    assert agent.call(task, token)["decision"] == "permit"
    with one.http("operator") as http:
        now = {"now": True, "reason": "leaked"}
        assert http.post("/v1/signing-keys/token/rotate", json=now).status_code == 200
    body, path = {"tool": "list", "arguments": {"customer": "acme"}}, f"/v1/tasks/{task}/calls"
    seconds_until(lambda: agent.send("POST", path, token, body).status_code == 401, 2)


def test_when_the_holder_is_killed_another_takes_over_and_when_it_leaves_at_once(three):
    holder = three.holder()
    agent = three.agent(three.others(holder)[0])
    task, token = lease_of(agent)
    holder.child.kill()
    assert agent.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"}).status_code == 200
    seconds_until(lambda: ended(three.others(holder)[0], task), 6)  # three, on a machine that has time
    leaving = three.holder()
    leaving.child.terminate()
    leaving.child.wait(10)
    taken_over(three, leaving)
    whole(three)
