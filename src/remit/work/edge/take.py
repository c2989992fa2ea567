"""Take: ask the centre for a task, once however many of its calls come at first, and decide it here from then on."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Protocol

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change, R
from remit.domain.errors import BadToken, Conflict, NotEntrusted, Unavailable
from remit.domain.estate import Held
from remit.domain.identity import Identity
from remit.domain.origin import Observation
from remit.domain.task import Task, TaskState
from remit.formats import row_body
from remit.formats.estate import Said, Statement
from remit.ports import Env
from remit.ports.estate import Centre

from .follow import Follow, held
from .let_go import let_go

_LOOKS, _LOOK_EVERY = 5, 0.1


class Memories(Protocol):
    """Where the keys are that digest what held tasks read."""

    def remember(self, task: str, memory: bytes) -> None: ...

    def forget(self, task: str) -> None: ...


class Take:
    """Many callers of one task share one question; a task on its way home is not taken again before it is there."""

    def __init__(self, env: Env, centre: Centre, follow: Follow, memories: Memories) -> None:
        self._env = env
        self._centre = centre
        self._follow = follow
        self._memories = memories
        self._asked: dict[str, asyncio.Task[None]] = {}

    async def begin(self) -> None:
        """Open the keys of what was held before this process began."""
        for state in ("held", "leaving"):
            for row in await held(self._env, state):
                if row.memory:
                    self._memories.remember(row.task, self._env.sealer.unseal(row.memory, _context(row.task)))

    async def take(self, task: str) -> None:
        """Hold it; see `ports.estate.Place`."""
        asked = self._asked.get(task)
        if asked is None:
            asked = self._asked[task] = asyncio.create_task(self._take(task))
            asked.add_done_callback(lambda done: self._done(task, done))
        await asyncio.shield(asked)

    def _done(self, task: str, done: asyncio.Task[None]) -> None:
        self._asked.pop(task, None)
        if not done.cancelled():
            done.exception()  # whoever waits has it; when all of them have gone, nobody need

    async def _take(self, task: str) -> None:
        row = await self._env.store.get(Held, task)
        if row is not None and row.state == "held":
            return
        if row is not None and row.state == "leaving":
            raise NotEntrusted("This task is on its way to the centre.", next_step="Try again in a moment.")
        async with self._follow.asking():
            nonce = secrets.token_hex(16)
            handed = await self._centre.entrust(task, self._follow.row.seat, nonce)
            said = self._follow.verified(handed.statement, Said.ENTRUSTED, nonce)
            if self._follow.size < said.size:
                await self._follow.pull()
            if self._follow.size < said.size:
                raise Unavailable("This edge lags behind the centre.", next_step="Try again in a moment.")
            await self._in_step(said)
            async with self._follow.moving:
                await self._write(task, said, handed.memory, row)

    async def _in_step(self, said: Statement) -> None:
        """Wait a little for the catalogue that the task was opened under: its revision may be newer than what is here.

        That it never comes is no reason to refuse the task: the decision then says what is wrong.
        """
        task, _, _ = _parsed(said)
        for _ in range(_LOOKS):
            _, force = await self._env.in_force()
            purpose = force.catalogue.purposes.get(task.purpose)
            if purpose is not None and purpose.revision == task.purpose_revision:
                return
            await self._follow.pull()
            await asyncio.sleep(_LOOK_EVERY)

    async def _write(self, task_id: str, said: Statement, memory: bytes, was: Held | None) -> None:
        env, now = self._env, self._env.clock()
        call = Call(Caller(CallerKind.SYSTEM, "take"), now)
        task, identity, read = _parsed(said)
        if self._follow.is_over(task_id) or task.recalled_at:  # told before this answer came
            await let_go(env, call, task_id, "it was recalled before it arrived", unknown=True)
            env.nudge()
            raise NotEntrusted("This task is decided at the centre.", next_step="Ask there.")
        wrong = task.id != task_id or identity.jkt != task.jkt or task.root != task.id
        if wrong or (task.home, task.seat) != (env.place, self._follow.row.seat) or task.state is not TaskState.OPEN:
            raise BadToken("What the centre handed over is not this task.", inside=f"{task.id} at {task.home}")
        if [row.key for row in read] != [f"{task.id}/{number:06d}" for number in range(1, task.observed + 1)]:
            raise BadToken("What the centre handed over is not all that was read.", inside=task.id)
        sealed = env.sealer.seal(memory, _context(task.id))
        change = Change(events.TaskTaken(task.id, task.agent, said.size), call)
        change = change.put(Held(task.id, sealed, now), was=was)
        change = await self._over(change, task)
        change = await self._over(change, identity)
        for row in read:
            change = await self._over(change, row)
        self._memories.remember(task.id, memory)
        try:
            await env.store.commit(change)
        except Conflict:  # nothing was written; after anything else it may have been
            self._memories.forget(task.id)
            raise

    async def _over(self, change: Change, row: R) -> Change:
        return change.put(row, was=await self._env.store.get(type(row), row.key))


def _parsed(said: Statement) -> tuple[Task, Identity, Sequence[Observation]]:
    body = said.body
    try:
        read = [row_body.row(Observation, one) for one in body.get("observations", [])]
        return row_body.row(Task, body["task"]), row_body.row(Identity, body["identity"]), read
    except (KeyError, TypeError, ValueError, AttributeError) as flaw:
        raise BadToken("What the centre handed over cannot be read.", inside=repr(flaw)) from flaw


def _context(task: str) -> bytes:
    return f"held_tasks:{task}".encode()
