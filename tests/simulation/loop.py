"""A deterministic event loop: virtual time, and a seed that says which of the ready callbacks runs next.

Every callback belongs to a node, by its context. A node that was killed runs nothing any more, not even what would
clear up (`kill -9`); one that was stopped runs what became ready meanwhile when it goes on (SIGSTOP). Its clocks are its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections.abc import Callable
from random import Random
from typing import Any
from zlib import crc32

NODE: contextvars.ContextVar[Node | None] = contextvars.ContextVar("node", default=None)
EPOCH = 1_800_000_000_000
LIMIT = 400_000


class Stuck(AssertionError):
    """Nothing can ever happen again, or things happen for ever."""


class Node:
    """A process on a machine: `offset` (ms) and `drift` (a rate) are of its clock."""

    def __init__(self, name: str, loop: SimulatedLoop, *, offset: int = 0, drift: float = 0.0) -> None:
        self.name, self.loop, self.offset, self.drift = name, loop, offset, drift
        self.alive, self.paused = True, False
        self.parked: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.context = contextvars.copy_context()
        self.context.run(NODE.set, self)

    def clock(self) -> int:
        """Ms since the epoch, as this machine believes."""
        return EPOCH + self.offset + int(self.loop.time() * 1000 * (1 + self.drift))

    def monotonic(self) -> float:
        """Seconds that only ever grow, at the rate of this machine's clock; a stop of the process does not stop it."""
        return self.loop.time() * (1 + self.drift)

    def spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        """Run it on this node."""
        return self.loop.create_task(coroutine, context=self.context.copy())

    def kill(self) -> None:
        """Nothing of it runs any more."""
        self.alive = False
        self.parked.clear()

    def stop(self) -> None:
        self.paused = True

    def go_on(self) -> None:
        self.paused = False
        for handle in self.parked:
            self.loop.ready(handle)
        self.parked.clear()


class SimulatedLoop(asyncio.AbstractEventLoop):
    """`shuffled` false runs callbacks in the order in which they became ready, as asyncio does."""

    def __init__(self, rng: Random, *, shuffled: bool = True) -> None:
        self._rng, self._shuffled = rng, shuffled
        self._now, self._count, self.steps, self.hash = 0.0, 0, 0, 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._ready: list[asyncio.Handle] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._stopping = self._running = self._closed = False
        self.failures: list[str] = []

    # --- what asyncio asks of a loop ---

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time has come."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        self._count += 1
        task = asyncio.Task(coro, loop=self, name=name or f"task-{self._count}", context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        task = context.get("future") or context.get("task")
        where = task.get_coro().__qualname__ if isinstance(task, asyncio.Task) else ""
        self.failures.append(f"{context.get('message')}: {where}: {context.get('exception')!r}")

    async def shutdown_asyncgens(self) -> None:
        """There are none."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """At once: there are no threads, and it takes no time."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as failure:
            future.set_exception(failure)
        return future

    async def shutdown_default_executor(self) -> None:
        """There is none: no threads."""

    # --- running ---

    def ready(self, handle: asyncio.Handle) -> None:
        """It may run now."""
        self._ready.append(handle)

    def run_until_complete(self, future: Any) -> Any:
        task = asyncio.ensure_future(future, loop=self)
        previous = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        self._running = True
        try:
            while not task.done():
                self._step()
            return task.result()
        finally:
            self._running = False
            asyncio._set_running_loop(previous)

    def _step(self) -> None:
        while not self._ready:
            if not self._timers:
                raise Stuck("nothing is ready and no timer runs: somebody waits for ever")
            self._due(self._timers[0][0])
        if self._timers and self._timers[0][0] <= self._now:
            self._due(self._now)
        ready = self._ready
        place = self._rng.randrange(len(ready)) if self._shuffled and len(ready) > 1 else 0
        if self._shuffled:
            ready[place], ready[-1] = ready[-1], ready[place]
            handle = ready.pop()
        else:
            handle = ready.pop(0)
        if handle._cancelled:
            return
        node = handle._context.get(NODE)
        if node is not None:
            if not node.alive:
                return
            if node.paused:
                node.parked.append(handle)
                return
        self.steps += 1
        if self.steps > LIMIT:
            raise Stuck(f"{LIMIT} steps and no end")
        self.hash = crc32(f"{place}/{len(ready)}{node.name if node else ''}@{self._now:.6f}".encode(), self.hash)
        handle._run()

    def _due(self, until: float) -> None:
        """Time moves on to `until`, and what was to happen by then is ready."""
        timers = self._timers
        self._now = max(self._now, until)
        while timers and timers[0][0] <= until:
            _, _, handle = heapq.heappop(timers)
            if not handle._cancelled:
                self._ready.append(handle)

    def close(self) -> None:
        """Everything that still waits is dropped; coroutines that would go on are closed where they stand."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        for task in self._tasks:
            coroutine = task.get_coro()
            for _ in range(64):
                if task.done():
                    break
                try:
                    coroutine.close()
                    break
                except RuntimeError:  # it awaits something again while it is closed
                    continue
                except BaseException:
                    break
        self._tasks.clear()
