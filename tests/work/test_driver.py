"""The driver and the sequencer: they survive what fails, and the log they make can be audited."""

from __future__ import annotations

import asyncio

import pytest

from remit.domain.errors import StoreUnavailable
from remit.domain.task import Task
from remit.formats.tlog import note_key, parse_checkpoint
from remit.log.audit import Head, audit
from remit.verbs.issue import issue
from remit.verbs.revoke import end_task
from remit.work.driver import Driver
from remit.work.sequence import sequence
from tests.world import world

NAME = "remit.test/log"


class Seen:
    def __init__(self):
        self.passes, self.kills = [], [0, 0]

    def passed(self, name, *, ok):
        self.passes.append((name, ok))

    def dead(self, issuer, seconds):
        assert seconds >= 0

    def killed(self, count, failed):
        self.kills = [self.kills[0] + count, self.kills[1] + failed]


async def until(condition):
    for _ in range(400):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in four seconds")


def test_a_nudge_ends_leases_at_once_and_failures_do_not_stop_it(run):
    async def main():
        w = await world()
        seen = Seen()
        driver = Driver(w.clock, seen)
        object.__setattr__(w.env, "nudge", driver.nudge)
        key = note_key(NAME, w.env.signer.public("log")[0])
        due, broken = w.store.due, [3]

        async def failing(*args, **kwargs):
            if broken[0]:
                broken[0] -= 1
                raise StoreUnavailable("down")
            return await due(*args, **kwargs)

        w.store.due = failing
        driver.start(w.env, w.store, NAME, w.store.forget_spent)
        _, call = await w.proved()
        task = await w.task(call)
        await issue(w.env, call, task.id, "db")
        await end_task(w.env, call, task.id, "done")

        async def settled():
            return bool((await w.store.get(Task, task.id)).settled_at)

        await until(settled)

        async def sequenced():
            return not await w.store.unsequenced(1)

        await until(sequenced)
        await driver.stop()
        assert ("end_leases", False) in seen.passes and seen.kills == [1, 0]
        size, note = await w.store.head()
        entries = await w.store.entries(0, size)
        head = parse_checkpoint(note, [key], origin="remit.test/log")
        assert audit(entries, Head(head.size, head.root)).ok
        assert not audit([*entries[:-1], b"x"], Head(head.size, head.root)).ok

    run(main())


@pytest.mark.parametrize("between", ["head", "unsequenced"])
def test_a_sequencer_that_was_overtaken_between_its_reads_adds_nothing_twice(run, between):
    async def main():
        w = await world()
        key = note_key(NAME, w.env.signer.public("log")[0])
        read = getattr(w.store, between)

        async def overtaken(*args):
            found = await read(*args)
            setattr(w.store, between, read)
            await sequence(w.store, w.env.signer, NAME)
            return found

        setattr(w.store, between, overtaken)
        assert await sequence(w.store, w.env.signer, NAME) == 0
        size, note = await w.store.head()
        assert size == len(await w.store.entries(0, 10_000)) == len(w.events())
        head = parse_checkpoint(note, [key])
        assert audit(await w.store.entries(0, size), Head(head.size, head.root)).ok

    run(main())


def test_every_checkpoint_extends_the_one_before(run):
    async def main():
        w = await world()
        key = note_key(NAME, w.env.signer.public("log")[0])
        heads = []
        _, call = await w.proved()
        for _ in range(12):
            await w.task(call)
            await sequence(w.store, w.env.signer, NAME)
            head = parse_checkpoint((await w.store.head())[1], [key])
            heads.append(Head(head.size, head.root))
        entries = await w.store.entries(0, 10_000)
        assert audit(entries, heads[-1], heads).ok

    run(main())
