"""One process at a time runs the reconcilers: it dies, it is paused and wakes up, it leaves; what is theirs goes on."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from remit.log.audit import Head, audit
from remit.store.postgres import PostgresStore
from remit.store.replay import replay
from tests.replicas.estate import estate, seconds_until


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


def test_a_task_ended_at_one_replica_is_cleaned_up_at_once_by_another(three):
    holder = three.holder()
    (other, *_) = three.others(holder)
    agent = three.agent(other)
    took = []
    for _ in range(5):
        task, token = lease_of(agent)
        time.sleep(0.05)
        assert agent.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"}).status_code == 200
        took.append(seconds_until(lambda task=task: ended(other, task), 3))
    assert sorted(took)[2] < 0.3, took  # half a second passes between two looks without the nudge
    assert three.holder() is holder


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
                assert taken_over(three, holder) <= 3
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


def test_when_the_holder_is_killed_another_takes_over_and_when_it_leaves_at_once(three):
    holder = three.holder()
    agent = three.agent(three.others(holder)[0])
    task, token = lease_of(agent)
    holder.child.kill()
    killed = time.monotonic()
    assert agent.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"}).status_code == 200
    seconds_until(lambda: ended(three.others(holder)[0], task), 4)
    assert time.monotonic() - killed <= 3 + 0.5
    leaving = three.holder()
    leaving.child.terminate()
    leaving.child.wait(10)
    assert taken_over(three, leaving) < 0.5
    whole(three)
