"""Report: what an edge decided becomes the centre's own record, in that edge's order, each exactly once.

Every event and how far that edge's log is taken in are one commit. Many of them are on their way together, also of two
copies of one report. Each place of the log is one version of that row, so a commit holds only behind the one of the
place before it, whoever made that; what stops a log moves the seat, which all of them rely on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from remit.domain import events
from remit.domain.caller import Call, Via
from remit.domain.catalogue import CatalogueFiles
from remit.domain.change import Change
from remit.domain.decision import Reason
from remit.domain.errors import BadField, Busy, Conflict, Malformed, ReportRefused, StoreUnavailable, WrongState
from remit.domain.estate import EdgeLog, EdgeSeat
from remit.domain.task import Task
from remit.formats import edge_report
from remit.formats.edge_report import Told
from remit.ports import Env, Reported

MOST = 256
ROUNDS = 24
_REASONS = frozenset(reason.value for reason in Reason)


class _Flaw(Exception):
    """Why this place of the log is not taken in; in our own words."""


async def report(env: Env, call: Call, seat: str, told: Sequence[Reported]) -> int:
    """Take a stretch in; returns how far that edge's log is taken in then. What was taken in before is left alone.

    A stretch that begins too late takes nothing in. `ReportRefused` at the first event that this edge may not report:
    what came before it is taken in. `SeatLost` for an incarnation that is not here any more.
    """
    edge = call.caller.name
    if len(told) > MOST or any(after.index != one.index + 1 for one, after in pairwise(told)):
        raise BadField("events", f"must be at most {MOST}, one after the other")
    for _ in range(ROUNDS):
        seated, log = await env.seated(edge, seat), await env.store.get(EdgeLog, f"{edge}/{seat}")
        if log is None:
            raise StoreUnavailable("How far this edge's log is taken in cannot be read.", inside=edge)
        todo = [one for one in told if one.index >= log.received]
        if not todo or todo[0].index != log.received:
            return log.received
        stretch = _Stretch(env, call, seated, log)
        refused = await stretch.plan(todo)
        done = await asyncio.gather(*map(env.store.commit, stretch.changes), return_exceptions=True)
        lost = [failure for failure in done if isinstance(failure, BaseException)]
        if any(not isinstance(failure, Conflict) for failure in lost):
            raise next(failure for failure in lost if not isinstance(failure, Conflict))
        if lost:
            continue  # somebody ended one of the tasks, or another replica took the same stretch in
        if refused:
            raise ReportRefused(f"Event {stretch.log.received} of this edge's log: {refused}")
        return stretch.log.received
    raise Busy("The tasks of this edge keep changing.", next_step="Report it again.")


@dataclass
class _Stretch:
    """The changes that take a stretch in, each over the rows as the one before it leaves them."""

    env: Env
    call: Call
    seated: EdgeSeat
    log: EdgeLog
    changes: list[Change] = field(default_factory=list)
    tasks: dict[str, Task | None] = field(default_factory=dict)
    catalogues: set[str] = field(default_factory=set)

    async def plan(self, todo: Sequence[Reported]) -> str:
        """Returns why it stops short, if it does."""
        for one in todo:
            try:
                found = edge_report.parse(one.leaf, one.bodies)
                if found.event is None:
                    because = events.EdgeReported(self.log.edge, self.log.seat, one.index, one.index + 1)
                    self._add(Change(because, self.call), one.index)
                else:
                    await self._takes(one.index, found, found.event)
            except (_Flaw, Malformed, WrongState) as flaw:
                return self._stops(str(flaw)[:200])
        return ""

    def _add(self, change: Change, index: int) -> None:
        after = self.log.took(index)
        self.changes.append(change.put(after, was=self.log).check(self.seated))
        self.log = replace(after, version=self.log.version + 1)

    def _stops(self, why: str) -> str:
        if not self.log.refused:
            because = events.EdgeReportRefused(self.log.edge, self.log.seat, self.log.received, why)
            change = Change(because, self.call).put(self.log.stopped(why, self.call.now), was=self.log)
            self.changes.append(change.put(self.seated, was=self.seated))
        return why

    async def _takes(self, index: int, told: Told, event: events.AccessDecided | events.ResultObserved) -> None:
        task = await self._task(event.task)
        if isinstance(event, events.AccessDecided):  # what only the centre knows, it says itself
            event = replace(event, purpose=task.purpose, resource="")
        via = Via(self.log.edge, self.log.seat, index, told.at)
        change = Change(event, replace(self.call, trace=told.trace, via=via))
        there = told.grown(task)
        after = task.reported(there) if there is not None else None
        if isinstance(event, events.AccessDecided):
            await self._check_decided(event, task, after)
            if told.observation is not None:
                raise _Flaw("a decision reads nothing")
        else:
            change = self._observed(change, event, told, task, after)
        if after is not None:
            change = change.put(after, was=task)
            self.tasks[task.id] = replace(after, version=task.version + 1)
        self._add(change, index)

    async def _task(self, name: str) -> Task:
        if name not in self.tasks:
            self.tasks[name] = await self.env.store.get(Task, name)
        task = self.tasks[name]
        if task is None or (task.home, task.seat) != (self.log.edge, self.log.seat):
            raise _Flaw("it is of a task that is not this edge's")
        return task

    async def _check_decided(self, event: events.AccessDecided, task: Task, after: Task | None) -> None:
        if event.agent != task.agent or event.approval or event.chain:
            raise _Flaw("it is not of this task's agent, or of somebody's approval")
        if event.decision not in ("permit", "deny") or not event.reasons or set(event.reasons) - _REASONS:
            raise _Flaw("it is no decision that an edge makes")
        if not await self._known(event.catalogue):
            raise _Flaw("it was decided under a catalogue that never was")
        if event.decision == "deny":
            if after is not None:
                raise _Flaw("a denial moves nothing")
            return
        used = {**task.uses, event.tool: task.uses.get(event.tool, 0) + 1}
        before = (event.calls, event.repeats, event.trust, event.sensitivity)
        is_here = (task.calls, task.uses.get(event.tool, 0), task.label.trust.word, task.label.sensitivity.word)
        if after is None or before != is_here or after.uses not in (task.uses, used):
            raise _Flaw("it is not the next call of this task")
        if (after.calls, after.observed) != (task.calls + 1, task.observed) or after.calls > task.max_calls:
            raise _Flaw("it is not one more call, within the task's budget")

    async def _known(self, digest: str) -> bool:
        if digest not in self.catalogues and await self.env.store.get(CatalogueFiles, digest) is not None:
            self.catalogues.add(digest)
        return digest in self.catalogues

    def _observed(
        self, change: Change, event: events.ResultObserved, told: Told, task: Task, after: Task | None
    ) -> Change:
        row = told.observation
        if row is None or after is None or row.number != task.observed + 1 or row.root not in ("", task.root):
            raise _Flaw("it is not the next result that this task has read")
        said = (row.task, row.number, row.tool, row.trust.word, row.sensitivity.word, row.values, row.whole)
        if said != (task.id, event.number, event.tool, event.trust, event.sensitivity, event.values, event.whole):
            raise _Flaw("the result is not the one it tells of")
        if after != task.read(row.label()):
            raise _Flaw("the task is not as it is after that result")
        return change.put(row.forgotten() if task.settled_at else row, was=None)
