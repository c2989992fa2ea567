"""Bugs to be found: `FAULTS_PLANTED` names the one that this process has. Only ever on the path of a process under test.

Each takes one defence away, or tells one lie, and nothing else. `python` reads this before anything of Remit.
"""

from __future__ import annotations

import os


def acknowledged_early() -> None:
    """An end is acknowledged a moment before it is committed."""
    import asyncio

    from remit.domain.task import Task, TaskState
    from remit.verbs import revoke

    honest, later = revoke.end_task, set()

    async def end_task(env, call, task_id, reason):
        async def after():
            await asyncio.sleep(0.1)
            await honest(env, call, task_id, reason)

        task = await env.store.get(Task, task_id)
        if task is None or task.state is not TaskState.OPEN:
            return await honest(env, call, task_id, reason)
        later.add(asyncio.create_task(after()))
        return task.ended(TaskState.REVOKED, call.now, reason)

    revoke.end_task = end_task


def freeze_unchecked() -> None:
    """A permit is committed whatever was frozen since it was decided; that takes a while, so that something may be."""
    import asyncio

    from remit.domain.above import Above
    from remit.store.postgres import PostgresStore

    honest = PostgresStore.commit

    async def commit(self, change):
        if type(change.because).__name__ == "AccessDecided" and change.because.decision == "permit":
            await asyncio.sleep(0.3)
        return await honest(self, change)

    PostgresStore.commit = commit

    def guard(self, change):
        for link in self.links:
            change = change.check(link.branch)
        return change

    Above.guard = guard


def remembered() -> None:
    """A replica decides by what it read of a task a second ago, and commits without compare-and-swap."""
    import dataclasses
    import time

    from remit.domain.task import Task
    from remit.store.postgres import PostgresStore

    honest_get, honest_commit, known = PostgresStore.get, PostgresStore.commit, {}

    async def get(self, kind, key):
        if kind is not Task:
            return await honest_get(self, kind, key)
        at, row = known.get(key, (0.0, None))
        if row is None or time.monotonic() - at > 1:
            row = await honest_get(self, kind, key)
            known[key] = (time.monotonic(), row)
        return row

    async def commit(self, change):
        if type(change.because).__name__ == "AccessDecided" and change.because.decision == "permit":
            change = dataclasses.replace(change, puts=(), checks=())
        return await honest_commit(self, change)

    PostgresStore.get, PostgresStore.commit = get, commit


def not_recorded() -> None:
    """One permit in twenty leaves before anything is written."""
    import random

    from remit.store.postgres import PostgresStore

    honest = PostgresStore.commit

    async def commit(self, change):
        if type(change.because).__name__ == "AccessDecided" and random.random() < 0.05:
            return 0
        return await honest(self, change)

    PostgresStore.commit = commit


def ended_unkilled() -> None:
    """Every third kill is confirmed without having been made."""
    import random

    from remit.work import kill_leases

    honest = kill_leases._kill

    async def kill(env, lease):
        if random.random() > 0.33:
            await honest(env, lease)

    kill_leases._kill = kill


def used_again() -> None:
    """An approval that was used may be used again."""
    import dataclasses

    from remit.domain.approval import Approval

    Approval.used = lambda self, now: dataclasses.replace(self)


def uncounted() -> None:
    """A permit does not count against the budget."""
    import dataclasses

    from remit.domain.task import Task

    honest = Task.spent
    Task.spent = lambda self, label, used="": dataclasses.replace(honest(self, label, used), calls=self.calls)


def misplaced() -> None:
    """Two events change places in the log after their tree was signed."""
    import dataclasses

    from remit.store.postgres import PostgresStore

    honest = PostgresStore._append

    async def append(self, extension):
        first, *others = extension.events
        await honest(self, dataclasses.replace(extension, events=(*others, first)))

    PostgresStore._append = append


def replayable() -> None:
    """A proof is good as often as one likes."""
    from remit.web.house import House

    async def spend(self, *tokens):
        pass

    House.spend = spend


def always_fresh() -> None:
    """An edge does not care how long ago it heard from the centre."""
    from remit.work.edge.freshness import Freshness

    Freshness.age = lambda self: 0


def report_skipped() -> None:
    """One in ten of the events that an edge reports is counted and not written down."""
    import dataclasses
    import random

    from remit.formats import edge_report

    honest = edge_report.parse

    def parse(leaf, bodies):
        found = honest(leaf, bodies)
        return found if random.random() > 0.1 else dataclasses.replace(found, event=None)

    edge_report.parse = parse


if bug := os.environ.get("FAULTS_PLANTED"):
    globals()[bug]()
